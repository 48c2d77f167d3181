import { LayerfsError, type ImportProgress } from 'layerfs';
import { interrupted, withStore, type GlobalOptions } from '../../context.js';
import { formatBytes, parseSize, shortDigest } from '../../format.js';
import { note, print, printJson } from '../../output.js';
import { Progress } from '../../progress.js';

interface Options extends GlobalOptions {
  readonly name?: string;
  readonly platform?: string;
  readonly allPlatforms?: boolean;
  readonly maxLayerSize?: string;
  readonly json?: boolean;
}

/** `layerfs import PATH` */
export async function run(path: string, options: Options): Promise<void> {
  const limit = options.maxLayerSize === undefined ? undefined : parseSize(options.maxLayerSize);
  if (options.maxLayerSize !== undefined && limit === undefined) {
    throw new LayerfsError('invalid-argument', `--max-layer-size ${options.maxLayerSize}: not a size such as 20G`);
  }
  if (path === '-' && process.stdin.isTTY) {
    throw new LayerfsError('invalid-argument', 'import - reads an archive from standard input: pipe one in');
  }
  const progress = new Progress(process.stderr.isTTY && options.quiet !== true && options.json !== true);
  const onProgress = (event: ImportProgress): void => {
    if (event.kind === 'layer')
      progress.layer(event.index, event.of, event.digest, event.done, event.total ?? 0, event.state);
    else if (event.kind === 'note' && options.quiet !== true && options.json !== true) {
      progress.end();
      note(`layerfs: ${event.message}`);
    }
  };
  await withStore(options, async (store) => {
    const result = await store.import(path === '-' ? process.stdin : path, {
      ...(options.name === undefined ? {} : { name: options.name }),
      ...(options.platform === undefined ? {} : { platform: options.platform }),
      ...(options.allPlatforms === true ? { allPlatforms: true } : {}),
      ...(limit === undefined ? {} : { maxLayerSize: limit }),
      onProgress,
      signal: interrupted,
    });
    progress.end();
    if (options.json === true) return printJson(result);
    for (const image of result.images) {
      const reused = image.layers.filter((layer) => layer.reused).length;
      print(options.quiet === true ? image.digest : `imported ${image.name ?? image.digest} (${image.platform})`);
      if (options.quiet === true) continue;
      print(`  image   ${shortDigest(image.digest)}`);
      print(`  layers  ${image.layers.length}${reused > 0 ? `, ${reused} of them already in the store` : ''}`);
    }
    if (options.quiet !== true) print(`  new     ${formatBytes(result.newBytes)} in ${result.newObjects} objects`);
  });
}
