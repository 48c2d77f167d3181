#!/usr/bin/env node
// A committed file, so that package managers can link the command before the first build.
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 12)) {
  console.error(`layerfs: needs Node.js 20.12 or later, this is ${process.versions.node}`);
  process.exit(1);
}
try {
  await import('../bundle/layerfs.js');
} catch (error) {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
  console.error(`layerfs: is not built, or not installed completely (npm run setup does both): ${error.message}`);
  process.exit(1);
}
