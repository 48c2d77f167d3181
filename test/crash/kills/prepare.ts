/** `prepare.js ROOT SOURCES`: makes the sources, and a store with one image. */
import { join } from 'node:path';
import { openStore } from 'layerfs';
import { makeSources } from '../scenario.js';

const [root, sources] = process.argv.slice(2);
makeSources(sources);
const store = await openStore({ root });
await store.import(join(sources, 'small'), { name: 'base' });
await store.close();
