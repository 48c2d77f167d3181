// Mounts, reads, tries to write and unmounts as whoever runs it: STORE FOLDER [TRANSPORT]. A plain script, as another user runs it.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const { spawnServer } = await import('../../packages/layerfs/dist/mount/mount.js');
const { unmount } = await import('../../packages/layerfs/dist/mount/unmount.js');
const [root, folder, by = 'auto'] = process.argv.slice(2);
const digest = `sha256:${'0'.repeat(64)}`;
const image = { ref: 'a', image: digest, chainID: digest, diffIDs: [digest], path: join(root, 'tree') };
const source = {
  root,
  paths: { objects: join(root, 'objects') },
  tree: () => Promise.resolve(image),
  shared: (action) => action(),
};
try {
  const { transport, passthrough } = await spawnServer(source, 'a', folder, { transport: by });
  const words = [transport, `passthrough=${passthrough}`, readFileSync(join(folder, 'dir/file'), 'utf8')];
  try {
    writeFileSync(join(folder, 'dir/file'), 'x');
  } catch (error) {
    words.push(error.code);
  }
  await unmount(root, folder);
  console.log([...words, 'unmounted'].join(' '));
} catch (error) {
  console.log(`${error.code}: ${error.message}`);
}
