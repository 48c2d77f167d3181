import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Nodes } from './nodes.js';

it('finds every name that was added, and no other', () => {
  const names = fc.array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.string({ maxLength: 3 })), { maxLength: 300 });
  fc.assert(
    fc.property(names, (list) => {
      const nodes = new Nodes();
      const model = new Map<string, number>();
      for (const [folder, name] of list) {
        const key = `${String(folder)}/${name}`;
        expect(nodes.find(folder, name)).toBe(model.get(key) ?? 0);
        if (model.has(key)) continue;
        const node = nodes.add(0o100644, folder, 0, 1);
        nodes.addName(folder, name, node);
        model.set(key, node);
      }
      for (const [key, node] of model) {
        const [folder, name] = [Number(key[0]), key.slice(2)];
        expect([nodes.find(folder, name), nodes.folder(node), nodes.name(node)]).toEqual([node, folder, name]);
      }
    }),
  );
});

it('grows, and keeps what it knows', () => {
  const nodes = new Nodes();
  for (let i = 0; i < 50_000; i++)
    nodes.addName(i % 7, `name${String(i)}`, nodes.add(i % 65_536, i % 300, i % 2, 2 ** 44 + i));
  for (let i = 0; i < 50_000; i++) {
    const node = nodes.find(i % 7, `name${String(i)}`);
    if (
      node !== i + 1 ||
      nodes.mode(node) !== i % 65_536 ||
      nodes.part(node) !== i % 300 ||
      nodes.flags(node) !== i % 2 ||
      nodes.ino(node) !== 2 ** 44 + i
    ) {
      throw new Error(`name${String(i)} is lost`);
    }
  }
  expect(nodes.find(0, 'name1')).toBe(0);
  expect([nodes.has(0), nodes.has(50_000), nodes.has(50_001)]).toEqual([false, true, false]);
});

it('a node keeps its first name when it gets others', () => {
  const nodes = new Nodes();
  const node = nodes.add(0o100644, 3, 1, 2 ** 52);
  nodes.addName(1, 'first', node);
  nodes.addName(2, 'second', node);
  expect([nodes.find(1, 'first'), nodes.find(2, 'second')]).toEqual([node, node]);
  expect([nodes.folder(node), nodes.name(node), nodes.ino(node)]).toEqual([1, 'first', 2 ** 52]);
  nodes.setFlags(node, 4);
  expect(nodes.flags(node)).toBe(5);
});
