/** A project that depends on all of the packages, and npm without the settings of whoever runs the test. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BUILT_NAME, type NpmPackage } from './packages.js';

/** Smaller ones are installed a second time, under another name. */
const SMALL = 50_000;

/** Makes the project's folder, with a package.json. */
export function makeProject(folder: string, packages: NpmPackage[]): void {
  mkdirSync(folder, { recursive: true });
  const dependencies = packages.flatMap(({ manifest: { name, version }, tarball }) => [
    [name, version],
    ...(tarball.length < SMALL ? [[`${name}-again`, `npm:${name}@${version}`]] : []),
  ]);
  const project = {
    name: 'project',
    version: '1.0.0',
    private: true,
    dependencies: Object.fromEntries(dependencies) as Record<string, string>,
    allowScripts: { [BUILT_NAME]: true },
  };
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(project, undefined, 2)}\n`);
}

/** The words by which a shell calls npm with its files below `home`; arguments follow. */
export function npmIn(home: string, registry?: string): string {
  const settings = {
    HOME: home,
    npm_config_cache: join(home, 'cache'),
    npm_config_userconfig: join(home, 'npmrc'),
    npm_config_globalconfig: join(home, 'npmrc-global'),
    npm_config_registry: registry ?? 'http://127.0.0.1:9/',
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    npm_config_update_notifier: 'false',
    npm_config_legacy_peer_deps: 'true',
    npm_config_logs_max: '0',
    npm_config_progress: 'false',
  };
  const words = Object.entries(settings).map(([name, value]) => `${name}='${value}'`);
  return `env -i PATH="$PATH" LC_ALL=C ${words.join(' ')} npm`;
}
