import { connect, type ClientHttp2Session } from 'node:http2';
import { connect as connectSocket } from 'node:net';

const SERVICE = '/containerd.services.snapshots.v1.Snapshots/';
/** Without it containerd's garbage collection takes what nothing refers to. */
const KEPT = Buffer.concat([field(1, 'containerd.io/gc.root'), field(2, 'bench')]);

/** Calls a containerd's snapshots service, as its own clients do, without a process for each call. */
export class SnapshotsClient {
  readonly #session: ClientHttp2Session;
  readonly #snapshotter: string;

  constructor(socket: string, snapshotter: string) {
    this.#session = connect('http://localhost', { createConnection: () => connectSocket(socket) });
    this.#snapshotter = snapshotter;
  }

  /** @returns the folder that takes what is written: upper of an overlay, or what is bound */
  async prepare(key: string, parent: string): Promise<string> {
    const answer = await this.#call('Prepare', [field(2, key), field(3, parent), field(4, KEPT)]);
    const text = answer.toString('latin1');
    return /upperdir=(\/\S*?\/\d+\/fs)/.exec(text)?.[1] ?? /\/\S*?\/snapshots\/\d+/.exec(text)?.[0] ?? '';
  }

  async mounts(key: string): Promise<void> {
    await this.#call('Mounts', [field(2, key)]);
  }

  async commit(name: string, key: string): Promise<void> {
    await this.#call('Commit', [field(2, name), field(3, key), field(4, KEPT)]);
  }

  async remove(key: string): Promise<void> {
    await this.#call('Remove', [field(2, key)]);
  }

  close(): void {
    this.#session.destroy();
  }

  #call(method: string, fields: readonly Buffer[]): Promise<Buffer> {
    return new Promise((done, fail) => {
      const message = Buffer.concat([field(1, this.#snapshotter), ...fields]);
      const header = Buffer.alloc(5);
      header.writeUInt32BE(message.length, 1);
      const stream = this.#session.request({
        ':method': 'POST',
        ':path': SERVICE + method,
        'content-type': 'application/grpc',
        'containerd-namespace': 'default',
        te: 'trailers',
      });
      const received: Buffer[] = [];
      let [code, words] = ['', ''];
      const look = (headers: { 'grpc-status'?: string; 'grpc-message'?: string }): void => {
        code = headers['grpc-status'] ?? code;
        words = headers['grpc-message'] ?? words;
      };
      stream.on('response', look).on('trailers', look).on('error', fail);
      stream.on('data', (data: Buffer) => received.push(data));
      stream.on('close', () => {
        if (code === '0') done(Buffer.concat(received));
        else fail(new Error(`${method}: ${code} ${words}`));
      });
      stream.end(Buffer.concat([header, message]));
    });
  }
}

/** A length-delimited field of a protobuf message. */
function field(number: number, content: string | Buffer): Buffer {
  const bytes = Buffer.from(content as string);
  const length: number[] = [];
  for (let rest = bytes.length; ; rest >>>= 7) {
    length.push(rest > 127 ? (rest & 127) | 128 : rest);
    if (rest <= 127) break;
  }
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), bytes]);
}
