/** Records in files, for layerfs's own packages. */
export { hasOldRecords, readOldRecords, removeOldRecords, type OldRecord } from './from-lmdb.js';
export { codeOf, RecordFile, type Cell } from './record-file.js';
