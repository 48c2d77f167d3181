/** Programs in python that write to a mount and to a plain folder, and see whether both have the same. */

/**
 * FOLDER SHADOW SECONDS SEED PROCESSES FILES. Changes files f0, f1, … in FOLDER and does the same in SHADOW; everything read is
 * compared. A file is locked (in SHADOW) while it is looked at or changed. Prints how often it did what.
 */
export const CONTENT_STRESS = `
import collections, fcntl, mmap, os, random, sys, time, traceback
folder, shadow, seconds, seed, processes, files = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])
LIMIT = 500000
end = time.time() + seconds

class Lock:
    def __init__(self, *numbers):
        self.numbers = sorted(set(numbers))
    def __enter__(self):
        self.fds = [os.open(f'{shadow}/lock{n}', os.O_CREAT | os.O_RDWR) for n in self.numbers]
        for fd in self.fds: fcntl.flock(fd, fcntl.LOCK_EX)
    def __exit__(self, *_):
        for fd in self.fds: os.close(fd)

def both(n): return f'{folder}/f{n}', f'{shadow}/f{n}'
def dirty(n): os.chmod(both(n)[1], 0o755)
def is_dirty(n): return os.stat(both(n)[1]).st_mode & 0o100 != 0

def read_all(fd):
    parts, at = [], 0
    while True:
        part = os.pread(fd, 1 << 17, at)
        if not part: return b''.join(parts)
        parts.append(part); at += len(part)

def differs(what, n, a, b):
    at = next((i for i in range(min(len(a), len(b))) if a[i] != b[i]), min(len(a), len(b)))
    raise AssertionError(f'{what}: f{n}: {len(a)} bytes, shadow {len(b)}; first difference at {at}: {a[at:at+8].hex()} {b[at:at+8].hex()}')

def compare(what, n, fds):
    sizes = [os.fstat(fd).st_size for fd in fds]
    a, b = [read_all(fd) for fd in fds]
    if a != b: differs(what, n, a, b)
    if sizes[0] != sizes[1]: raise AssertionError(f'{what}: f{n}: fstat says {sizes}')
    if os.stat(fds[0]).st_size != len(b): raise AssertionError(f'{what}: f{n}: stat')

def worker(number):
    rng = random.Random(seed * 1000 + number)
    counts, kept, maps = collections.Counter(), [], []
    def data(limit=90000):
        length = rng.choice([1, 7, 100, 4096, 5000, rng.randrange(1, limit)])
        return rng.randbytes(length)
    def opened(n, flags): return [os.open(path, flags) for path in both(n)]
    def close(fds):
        for fd in fds: os.close(fd)
    def write(n):
        fds = opened(n, os.O_RDWR); dirty(n)
        for _ in range(rng.randrange(1, 4)):
            block, at = data(), rng.randrange(LIMIT - 90000)
            for fd in fds:
                if os.pwrite(fd, block, at) != len(block): raise AssertionError('short write')
            if rng.random() < .2: os.fsync(fds[0])
        compare('write', n, fds); close(fds)
    def append(n):
        if os.stat(both(n)[1]).st_size > LIMIT: return cut(n)
        fds = opened(n, os.O_WRONLY | os.O_APPEND); dirty(n)
        block = data()
        for fd in fds: os.write(fd, block)
        close(fds)
    def cut(n):
        size = rng.choice([0, 1, 4096, 4097, rng.randrange(LIMIT)])
        for path in both(n): os.truncate(path, size)
        dirty(n)
    def ftruncate(n):
        fds = opened(n, os.O_RDWR); dirty(n)
        size = rng.randrange(LIMIT)
        for fd in fds: os.ftruncate(fd, size)
        compare('ftruncate', n, fds); close(fds)
    def rewrite(n):
        fds = opened(n, os.O_RDWR | os.O_TRUNC); dirty(n)
        block = data()
        for fd in fds: os.write(fd, block)
        compare('rewrite', n, fds); close(fds)
    def mapped(n):
        fds = opened(n, os.O_RDWR); dirty(n)
        if os.fstat(fds[1]).st_size < 20:
            for fd in fds: os.ftruncate(fd, 20000)
        size = os.fstat(fds[1]).st_size
        views = [mmap.mmap(fd, size) for fd in fds]
        if views[0][:] != views[1][:]: differs('mmap', n, views[0][:], views[1][:])
        at = rng.randrange(size - 10); block = rng.randbytes(min(10000, size - at))
        for view in views: view[at:at + len(block)] = block
        if rng.random() < .5: views[0].flush()
        compare('mmap then read', n, fds)
        if rng.random() < .5: maps.append((n, fds, views, size))
        else:
            for view in views: view.close()
            close(fds)
    def read(n):
        fds = opened(n, os.O_RDONLY); compare('read', n, fds); close(fds)
    def part(n):
        fds = opened(n, os.O_RDONLY)
        at, length = rng.randrange(LIMIT), rng.randrange(1, 200000)
        a, b = [os.pread(fd, length, at) for fd in fds]
        if a != b: differs('pread', n, a, b)
        close(fds)
    def map_read(n):
        fds = opened(n, os.O_RDONLY)
        size = os.fstat(fds[1]).st_size
        if size > 0:
            views = [mmap.mmap(fd, size, prot=mmap.PROT_READ) for fd in fds]
            if views[0][:] != views[1][:]: differs('mmap read', n, views[0][:], views[1][:])
            for view in views: view.close()
        close(fds)
    def keep(n):
        flags = os.O_RDWR if not is_dirty(n) or rng.random() < .5 else os.O_RDONLY
        fds = opened(n, flags)
        if flags == os.O_RDWR: dirty(n)
        kept.append((n, fds))
    def replace(n):
        block = data()
        for path in both(n):
            with open(f'{path}.new{number}', 'wb') as file:
                file.write(block)
                if rng.random() < .1: file.flush(); os.fsync(file.fileno())
            os.rename(f'{path}.new{number}', path)
        dirty(n)
    def again(n):
        block = data()
        for path in both(n):
            os.unlink(path)
            with open(path, 'wb') as file: file.write(block)
        dirty(n)
    def chmod(n): os.chmod(both(n)[0], rng.choice([0o600, 0o644, 0o755]))
    def reserve(n):
        fds = opened(n, os.O_RDWR); dirty(n)
        at, length = rng.randrange(LIMIT // 2), rng.randrange(1, LIMIT // 2)
        for fd in fds: os.posix_fallocate(fd, at, length)
        compare('fallocate', n, fds); close(fds)
    def holding(n):
        for m, fds in kept[-3:]:
            # Others may have renamed another file to this name: the descriptors are still of the same inode.
            block, at = data(5000), rng.randrange(LIMIT)
            writable = fcntl.fcntl(fds[0], fcntl.F_GETFL) & 3 != 0
            compare('kept', m, fds)
            if writable:
                for fd in fds: os.pwrite(fd, block, at)
                compare('kept and written', m, fds)
    def exchange(n, m):
        for a, b in zip(both(n), both(m)): os.rename(a, b)
        block = data()
        for path in both(n):
            with open(path, 'wb') as file: file.write(block)
        dirty(n)
    def copy_range(n, m):
        a, b = opened(n, os.O_RDONLY), opened(m, os.O_RDWR)
        dirty(m)
        to = rng.randrange(LIMIT // 2)
        copied = []
        for x, y in zip(a, b):
            done = 0
            while done < 200000:
                try: count = os.copy_file_range(x, y, 200000 - done, done, to + done)
                except OSError as error:
                    if error.errno != 18: raise
                    part = os.pread(x, 200000 - done, done); count = os.pwrite(y, part, to + done)
                if count == 0: break
                done += count
            copied.append(done)
        if copied[0] != copied[1]: raise AssertionError(f'copy_file_range: {copied}')
        compare('copy_file_range', m, b); close(a); close(b)
    one = [write, append, cut, ftruncate, rewrite, mapped, mapped, read, read, read, part, part, map_read, replace, again, chmod, reserve]
    two = [exchange, copy_range]
    while time.time() < end:
        n, m = rng.sample(range(files), 2)
        dice = rng.random()
        if dice < .08:
            with Lock(n, m): action = rng.choice(two); action(n, m)
        elif dice < .2:
            # What is kept open is looked at only by who may change any file: others could be writing to the same inode.
            with Lock(*range(files)):
                action = rng.choice([keep, holding]); action(n)
                for k, fds, views, size in maps[-2:]:
                    if os.fstat(fds[1]).st_size >= size and views[0][:] != views[1][:]: differs('kept mmap', k, views[0][:], views[1][:])
                while len(kept) > 6: close(kept.pop(rng.randrange(3))[1])
                while len(maps) > 4:
                    _, fds, views, _ = maps.pop(0)
                    for view in views: view.close()
                    close(fds)
        else:
            with Lock(n): action = rng.choice(one); action(n)
        counts[action.__name__] += 1
    return counts

if seed % 2: os.makedirs(folder, exist_ok=True)
pids = []
for number in range(processes):
    pid = os.fork()
    if pid == 0:
        try: counts = worker(number)
        except BaseException:
            traceback.print_exc(); os._exit(1)
        print(number, dict(counts), flush=True)
        os._exit(0)
    pids.append(pid)
bad = [pid for pid in pids if os.waitpid(pid, 0)[1] != 0]
for n in range(files):
    a, b = [open(path, 'rb').read() for path in both(n)]
    if a != b: differs('at the end', n, a, b)
sys.exit(1 if bad else 0)
`;

/**
 * DATABASE SECONDS KILL. Four processes insert into an sqlite database with a write-ahead log and note each commit; after SECONDS all
 * are ended, by SIGKILL when KILL is 1. Then the database is opened again: it must be sound and have every row that was noted.
 */
export const SQLITE_LOAD = `
import os, random, signal, sqlite3, sys, time
path, seconds, kill = sys.argv[1], float(sys.argv[2]), sys.argv[3] == '1'
def connect():
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    db.execute('pragma journal_mode=wal'); db.execute('pragma synchronous=normal'); db.execute('pragma mmap_size=1000000')
    return db
db = connect()
db.execute('create table if not exists t(worker int, seq int, filler blob, primary key(worker, seq))')
first = [db.execute('select coalesce(max(seq), -1) + 1 from t where worker=?', (w,)).fetchone()[0] for w in range(4)]
db.close()
def work(worker, out):
    db, rng, seq, end = connect(), random.Random(worker), first[worker], time.time() + (3600 if kill else seconds)
    while time.time() < end:
        db.execute('begin immediate')
        for _ in range(rng.randrange(1, 8)):
            db.execute('insert into t values(?,?,?)', (worker, seq, rng.randbytes(rng.randrange(3000)))); seq += 1
        if seq % 3 == 0: db.execute('update t set filler=? where worker=? and seq=?', (rng.randbytes(100), worker, rng.randrange(seq)))
        db.execute('commit')
        os.pwrite(out, str(seq).rjust(20).encode(), 0)
        if rng.random() < .02: db.execute('pragma wal_checkpoint(truncate)')
        if rng.random() < .05: db.execute('select sum(length(filler)) from t').fetchone()
    db.close()
pids, outs = [], []
for worker in range(4):
    out = os.memfd_create('acknowledged'); outs.append(out)
    pid = os.fork()
    if pid == 0:
        try: work(worker, out)
        except BaseException as error:
            print(worker, repr(error), flush=True); os._exit(1)
        os._exit(0)
    pids.append(pid)
if kill:
    time.sleep(seconds)
    for pid in random.sample(pids, 4):
        os.kill(pid, signal.SIGKILL); time.sleep(.02)
codes = [os.waitpid(pid, 0)[1] for pid in pids]
if codes != [9 if kill else 0] * 4: sys.exit(f'ended with {codes}')
db = connect()
said = db.execute('pragma integrity_check').fetchall()
if said != [('ok',)]: sys.exit(f'integrity_check: {said}')
total = 0
for worker, out in enumerate(outs):
    acknowledged = int(os.pread(out, 20, 0) or b'0')
    rows, = db.execute('select count(*) from t where worker=?', (worker,)).fetchone()
    if rows < acknowledged: sys.exit(f'worker {worker}: {rows} rows, but {acknowledged} were committed')
    total += rows
db.close()
print(total)
`;

/**
 * FILE HOW NEW [BIG]: has FILE (of the lower) open and mapped while other processes change it as HOW says, and reads all the time. What is
 * read is the old content or, where NEW is 1, may be the new one; never an error. A reader that opens after the change must see it.
 */
export const READ_WHILE_REWRITTEN = `
import mmap, os, select, sys, time
path, how = sys.argv[1], sys.argv[2]
old = open(path, 'rb').read()
new = {'trunc': b'n' * 1000, 'longer': b'N' * (len(old) + 5000), 'append': old + b'tail', 'rename': b'replaced', 'unlink': None,
       'truncate': old[:10], 'patch': b'patch' + old[5:], 'chmod': old, 'mmap': b'M' + old[1:]}[how]
fds = [os.open(path, os.O_RDONLY) for _ in range(3)]
view = mmap.mmap(fds[0], len(old), prot=mmap.PROT_READ)
assert view[:] == old
finished, finish = os.pipe()
def reader(fd):
    os.close(finish)
    last = False
    while not last:
        last = len(select.select([finished], [], [], 0)[0]) > 0
        at = 0; parts = []
        while True:
            part = os.pread(fd, 100000, at)
            if not part: break
            parts.append(part); at += len(part)
        got = b''.join(parts)
        # Being written, it may be anything between; the first and last look count.
        if len(got) > max(len(old), len(new or b'')): raise AssertionError(f'{how}: {len(got)} bytes')
    if got != old and got != (old if new is None else new): raise AssertionError(f'{how}: neither old nor new, {len(got)} bytes')
pids = []
for fd in fds[1:]:
    pid = os.fork()
    if pid == 0:
        try: reader(fd)
        except BaseException as error:
            print(repr(error), flush=True); os._exit(1)
        os._exit(0)
    pids.append(pid)
time.sleep(.05)
writer = os.fork()
if writer == 0:
    try:
        if how in ('trunc', 'longer'):
            with open(path, 'wb') as file: file.write(new)
        elif how == 'append':
            with open(path, 'ab') as file: file.write(b'tail')
        elif how == 'rename':
            with open(path + '.new', 'wb') as file: file.write(new)
            os.rename(path + '.new', path)
        elif how == 'unlink': os.unlink(path)
        elif how == 'truncate': os.truncate(path, 10)
        elif how == 'chmod': os.chmod(path, 0o600)
        elif how == 'patch':
            fd = os.open(path, os.O_RDWR); os.pwrite(fd, b'patch', 0); os.fsync(fd); os.close(fd)
        elif how == 'mmap':
            fd = os.open(path, os.O_RDWR); w = mmap.mmap(fd, 0); w[0:1] = b'M'; w.flush(); w.close(); os.close(fd)
    except BaseException as error:
        print('writer', repr(error), flush=True); os._exit(1)
    os._exit(0)
written = os.waitpid(writer, 0)[1]
time.sleep(.05)
os.close(finish)
codes = [written] + [os.waitpid(pid, 0)[1] for pid in pids]
if any(codes): sys.exit(f'{path} {how}: ended with {codes}')
if new is None:
    assert not os.path.exists(path)
    if os.pread(fds[0], len(old), 0) != old: sys.exit('an unlinked file lost its content')
    if view[:] != old: sys.exit('the map of an unlinked file')
else:
    got = open(path, 'rb').read()
    if got != new: sys.exit(f'{path} {how}: not what was written: {len(got)} {got[:10]}')
    if os.stat(path).st_size != len(new): sys.exit('stat')
    if how == 'rename' and os.pread(fds[0], len(old), 0) != old: sys.exit('a replaced file lost its content')
`;
