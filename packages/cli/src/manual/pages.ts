import { readFileSync } from 'node:fs';
import { buildProgram } from '../program/program.js';
import { fuseLayerfsManual, layerfsManual } from './manual.js';

/** The manual pages by their file names, as they are to be in the package's folder `man`. */
export function manualPages(): [name: string, text: string][] {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(text) as { version: string };
  const program = buildProgram(version, () => Promise.resolve());
  return [
    ['layerfs.1', layerfsManual(program, version)],
    ['fuse-layerfs.8', fuseLayerfsManual(version)],
  ];
}
