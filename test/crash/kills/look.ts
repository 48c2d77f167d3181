/**
 * `look.js ROOT [end]`: looks through a store as others use it, or with `end` when nobody does: then also that nothing is left
 * over. Prints the names of images and snapshots as JSON.
 */
import { checkIdle, verifyInUse } from '../states/check.js';

const [root, end] = process.argv.slice(2);
const found = end === 'end' ? await checkIdle(root) : await verifyInUse(root);
process.stdout.write(JSON.stringify(found));
