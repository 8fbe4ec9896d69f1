"""Packets that are almost right, for record.c. usage: packets.py SEED COUNT FOLDER_OF_ZIPS"""
import glob, random, sys, zipfile
seed, count = int(sys.argv[1]), int(sys.argv[2])
r = random.Random(seed)
def varint(v, pad=False):
    out = bytearray()
    while True:
        b = v & 0x7f; v >>= 7
        if v or (pad and len(out) < 4): out.append(b | 0x80)
        else: out.append(b); return bytes(out)
        
def num():
    if r.random() < .01: return r.choice([2**32, 2**63, 2**64-1])
    return r.choice([0, 1, 2, 127, 128, 129, 255, 256, 52, 0xfffe, 2**31, 2**32-1, r.getrandbits(r.choice([4, 8, 16, 32]))])
def small(): return r.choice([0, 1, 2, 3, 4, 5, 255] * 20 + [256, 2**32])
def tag(n, w): return varint(n << 3 | w, r.random() < .02)
def blob(n, b): return tag(n, 2) + varint(len(b), r.random() < .02) + b
def rb(n): return bytes(r.getrandbits(8) for _ in range(n))
def noise():
    k = r.random()
    if k < .3: return tag(r.choice([0, 11, 30, 99, 2**28]), 0) + varint(num())
    if k < .5: return tag(r.choice([0, 11, 30]), 2) + varint(3) + rb(3)
    if k < .6: return tag(30, 1) + rb(8)
    if k < .7: return tag(30, 5) + rb(4)
    if k < .8: return tag(r.choice([1, 2, 3, 30]), r.choice([3, 4, 6, 7]))
    if k < .9: return b'\0' * r.choice([1, 2])
    return rb(r.choice([1, 2, 3]))
def maybe(p, b): return b() if r.random() < p else b''
def shuffle(parts, extra=.02, dup=.012, drop=.015):
    out = []
    for p in parts:
        if r.random() < drop: continue
        out.append(p)
        if r.random() < dup: out.append(p)
        if r.random() < extra: out.append(noise())
    if r.random() < .05: r.shuffle(out)
    return b''.join(out)
def wt(n):  # usually varint
    return tag(n, 0 if r.random() < .97 else r.randrange(8))
def hashm(): return shuffle([wt(1) + varint(r.choice([3] * 5 + [small()])), blob(2, rb(r.choice([32] * 30 + [0, 31, 33])))])
def bv(): return shuffle([wt(1) + varint(small()), blob(2, rb(r.choice([0] * 20 + [64] * 5 + [63, 65])))])
def sdreq():
    k = r.random(); n = r.choice([0] + [1] * 20 + [2, 3, 4, 5, 15, 16, 17])
    items = [varint(num() if r.random() < .1 else r.getrandbits(8)) for _ in range(n)]
    if k < .7: return blob(3, b''.join(items))
    if k < .9: return b''.join(wt(3) + i for i in items)
    return blob(3, b''.join(items)) + wt(3) + varint(r.getrandbits(7)) + blob(3, varint(r.getrandbits(9)))
def init():
    return shuffle([wt(1) + varint(num()), wt(2) + varint(num()), sdreq(), wt(4) + varint(small()), wt(5) + varint(num()), wt(6) + varint(num()), wt(7) + varint(num()),
        blob(8, hashm()), wt(9) + varint(r.choice([0, 1] * 20 + [2, 127, 128, 255, 2**32, 2**64-1])), b''.join(blob(10, bv()) for _ in range(r.choice([0] + [1] * 12 + [2, 2, 3, 4])))])
def command():
    parts = [wt(1) + varint(small()), blob(2, init())]
    if r.random() < .08: parts.append(wt(1) + varint(small()))
    if r.random() < .06: parts.append(blob(3, r.choice([wt(1) + varint(num()), b''])))
    return shuffle(parts)
def signed(): return shuffle([blob(1, command()), wt(2) + varint(small()), blob(3, rb(r.choice([64] * 30 + [0, 63, 65])))])
def packet():
    k = r.random()
    if k < .35: p = [blob(1, command())]
    elif k < .92: p = [blob(2, signed())]
    else: p = [blob(1, command()), blob(2, signed())]
    b = shuffle(p, drop=.01)
    k = r.random()
    if k < .15 and b:
        b = bytearray(b)
        for _ in range(r.choice([1, 1, 2, 4])): b[r.randrange(len(b))] = r.getrandbits(8)
        b = bytes(b)
    elif k < .22: b = b[:r.randrange(len(b) + 1)]
    return b[:512]
real = []
for f in sorted(glob.glob(sys.argv[3] + '/*.zip')):
    z = zipfile.ZipFile(f)
    real += [z.read(n) for n in z.namelist() if n.endswith('.dat')]
lines = []
for i in range(count):
    if r.random() < .2:
        b = bytearray(r.choice(real))
        for _ in range(r.choice([1, 1, 2, 3])):
            at = r.randrange(len(b)); k = r.random()
            if k < .6: b[at] = r.getrandbits(8)
            elif k < .8: del b[at]
            else: b.insert(at, r.getrandbits(8))
        lines.append(bytes(b).hex())
    else: lines.append(packet().hex())
print('\n'.join(lines))
