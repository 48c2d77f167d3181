import { expect, it } from 'vitest';
import { mountAt, parseMountinfo } from './mountinfo.js';

const TEXT = [
  '22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw',
  String.raw`40 22 0:45 / /mnt/with\040space\011tab ro,nosuid,nodev - fuse.layerfs debian:latest ro,user_id=0`,
  '41 22 0:46 / /mnt/x rw master:2 propagate_from:3 - overlay overlay rw',
  '42 22 0:47 / /mnt/x ro - fuse.layerfs a ro',
  'not a line',
  '',
].join('\n');

it('reads fields on both sides of the separator, whatever the number of optional ones', () => {
  const entries = parseMountinfo(TEXT);
  expect(entries.map((entry) => entry.type)).toEqual(['ext4', 'fuse.layerfs', 'overlay', 'fuse.layerfs']);
  expect(entries[1]).toEqual({
    id: 40,
    parent: 22,
    device: '0:45',
    mountpoint: '/mnt/with space\ttab',
    type: 'fuse.layerfs',
    source: 'debian:latest',
    options: ['ro', 'nosuid', 'nodev'],
  });
});

it('finds the mount that covers the others at one path', () => {
  expect(mountAt('/mnt/x', parseMountinfo(TEXT))?.id).toBe(42);
  expect(mountAt('/mnt', parseMountinfo(TEXT))).toBeUndefined();
});
