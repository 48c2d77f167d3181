import { expect, test } from 'vitest';
import { formatReference, idPrefix, nameFromFile, parseImageName, parseReference } from './reference.js';

const HEX = 'a'.repeat(64);

test.each([
  ['debian', 'debian:latest'],
  ['debian:12', 'debian:12'],
  ['library/debian', 'debian:latest'],
  ['docker.io/library/debian:12', 'debian:12'],
  ['docker.io/user/app', 'user/app:latest'],
  ['index.docker.io/user/app', 'user/app:latest'],
  ['user/app', 'user/app:latest'],
  ['localhost/app', 'localhost/app:latest'],
  ['localhost:5000/app', 'localhost:5000/app:latest'],
  ['registry.example:5000/a/b/c:1.0-rc_1', 'registry.example:5000/a/b/c:1.0-rc_1'],
  ['[::1]:5000/app', '[::1]:5000/app:latest'],
  ['a__b/c--d.e', 'a__b/c--d.e:latest'],
  [`debian@sha256:${HEX}`, `debian@sha256:${HEX}`],
  [`debian:12@sha256:${HEX}`, `debian:12@sha256:${HEX}`],
])('%s is %s', (text, full) => {
  expect(formatReference(parseReference(text))).toBe(full);
});

test.each([
  '',
  'Debian',
  'a b',
  'a//b',
  '/a',
  'a/',
  '-a',
  'a-',
  'a:',
  'a:b:c',
  'a:-b',
  `a:${'t'.repeat(129)}`,
  'a@sha256:12',
  `a@md5:${'0'.repeat(32)}`,
  'a___b',
  '../a',
  'a/../b',
  'ho_st.example/a',
  'x'.repeat(300),
  HEX,
  'a\0b',
  'a\nb',
])('%j is no image name', (text) => {
  expect(() => parseReference(text)).toThrow(/image name|digest/);
});

test('a digest cannot be chosen as a name', () => {
  expect(() => parseImageName(`a@sha256:${HEX}`)).toThrow(/digest/);
  expect(parseImageName('a')).toBe('a:latest');
});

test('IDs', () => {
  expect(idPrefix('abcd')).toBe('abcd');
  expect(idPrefix(`sha256:${HEX}`)).toBe(HEX);
  expect(idPrefix('abc')).toBeUndefined();
  expect(idPrefix('debian')).toBeUndefined();
});

test.each([
  ['debian.tar', 'debian'],
  ['My Image.tar.gz', 'my-image'],
  ['x.oci.tar', 'x'],
  ['root_fs.tgz', 'root_fs'],
  ['..', undefined],
  ['日本', undefined],
])('the file %s names the image %s', (file, name) => {
  expect(nameFromFile(file)).toBe(name);
});
