/** Parts of the store that are no part of its interface. From where this runs (dist/) a relative path leads elsewhere. */
const here = import.meta.resolve('layerfs');
const load = (path: string): Promise<unknown> => import(new URL(path, here).href);

export const { BASE, imageOf, layoutOf, tarOf, two } = (await load(
  './store/small-images.test-support.js',
)) as typeof import('../../packages/layerfs/dist/store/small-images.test-support.js');
export const { Meta } = (await load('./store/meta.js')) as typeof import('../../packages/layerfs/dist/store/meta.js');
export const { ObjectList } = (await load(
  './store/object-list.js',
)) as typeof import('../../packages/layerfs/dist/store/object-list.js');
export const { loadXxhash } = (await load(
  './store/hash.js',
)) as typeof import('../../packages/layerfs/dist/store/hash.js');
export const { rebuildTar } = (await load(
  './store/output/rebuild.js',
)) as typeof import('../../packages/layerfs/dist/store/output/rebuild.js');
export const { openTree, writeMergedTree } = (await load(
  './store/trees.js',
)) as typeof import('../../packages/layerfs/dist/store/trees.js');
export const { StorePaths } = (await load(
  './store/paths.js',
)) as typeof import('../../packages/layerfs/dist/store/paths.js');
