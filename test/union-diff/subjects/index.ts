import { fuseOverlayfs } from './fuse-overlayfs.js';
import { kernel, kernelWithoutIndex } from './kernel.js';
import { layerfs } from './layerfs.js';
import type { Subject } from './subject.js';

const SUBJECTS: readonly Subject[] = [kernel, kernelWithoutIndex, fuseOverlayfs, layerfs];

export function subjectNamed(name: string): Subject {
  const subject = SUBJECTS.find((candidate) => candidate.name === name);
  if (subject === undefined) throw new Error(`no subject ${name}: ${SUBJECTS.map((each) => each.name).join(', ')}`);
  return subject;
}
