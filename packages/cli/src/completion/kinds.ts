/** What stands for an argument or for an option's value: names from the store, or paths, which the shell itself completes. */
export type Kind = 'image' | 'snapshot' | 'lease' | 'mountpoint' | 'file' | 'folder';

const NONE: readonly Kind[] = [];

/** By the placeholder in the command table; one behind a command's name is for that command alone. */
const KINDS: Readonly<Record<string, readonly Kind[]>> = {
  image: ['image'],
  ref: ['image'],
  ref1: ['image'],
  ref2: ['image'],
  'image-or-path': ['image', 'mountpoint', 'file'],
  snapshot: ['snapshot', 'mountpoint'],
  what: ['snapshot', 'mountpoint', 'image'],
  'rm snapshot': ['snapshot'],
  lease: ['lease'],
  mountpoint: ['folder'],
  'unmount mountpoint': ['mountpoint'],
  folder: ['folder'],
  file: ['file'],
  out: ['file'],
  path: ['file'],
  'tree path': NONE,
  'cat path': NONE,
  'explain path': NONE,
  'mount name': ['snapshot'],
  name: NONE,
  registry: NONE,
  repository: NONE,
  action: NONE,
  shell: NONE,
  words: NONE,
  'os/arch': NONE,
  size: NONE,
  time: NONE,
  text: NONE,
  when: NONE,
  mode: NONE,
  group: NONE,
  address: NONE,
};

/** What a placeholder of a command stands for; every one in the table has to be known here. */
export function kindsOf(command: string, placeholder: string): readonly Kind[] {
  const kinds = KINDS[`${command} ${placeholder}`] ?? KINDS[placeholder];
  if (kinds === undefined) throw new Error(`completion does not know what <${placeholder}> of ${command} is`);
  return kinds;
}
