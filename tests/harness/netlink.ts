/**
 * Asks the kernel for what a network namespace has, by netlink and without a program: state is
 * compared thousands of times, and in a guest a program takes tens of milliseconds to start.
 *
 * @module
 */

/** One object of a dump. */
export interface Message {
  /** The fixed structure in front of the attributes. */
  readonly header: DataView<ArrayBuffer>;
  readonly attributes: Attributes;
}

/** Values of attributes by type, as the kernel's headers number them. */
export type Attributes = ReadonlyMap<number, Uint8Array<ArrayBuffer>>;

/** What is asked for. */
export interface DumpRequest {
  /** Type of the message, `RTM_GETLINK` for example. */
  readonly type: number;
  /** Length in bytes of the fixed structure, whose first byte is the family. */
  readonly headerLength: number;
  /** Address family; any when absent. */
  readonly family?: number;
  /** Protocol of the socket; `NETLINK_ROUTE` when absent. */
  readonly protocol?: number;
}

const openLibc = () =>
  Deno.dlopen("libc.so.6", {
    open: { parameters: ["buffer", "i32"], result: "i32" },
    close: { parameters: ["i32"], result: "i32" },
    setns: { parameters: ["i32", "i32"], result: "i32" },
    socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
    send: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
    recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  }).symbols;

type Libc = ReturnType<typeof openLibc>;

let library: Libc | undefined;

function libc(): Libc {
  return library ??= openLibc();
}

/** Opens the library, which stays open, before there is a test whose open resources are counted. */
export function prepareNetlink(): void {
  libc();
}

const cloexec = 0o2000000;
const newNetwork = 0x40000000;

/**
 * Calls a function with this thread inside a network namespace. It must neither await anything
 * nor start a program.
 */
export function inNetns<T>(path: string, body: () => T): T {
  const own = openFile("/proc/thread-self/ns/net");
  try {
    const other = openFile(path);
    try {
      enter(other);
    } finally {
      libc().close(other);
    }
    try {
      return body();
    } finally {
      enter(own);
    }
  } finally {
    libc().close(own);
  }
}

function enter(file: number): void {
  if (libc().setns(file, newNetwork) !== 0) throw new Error("Cannot enter a network namespace");
}

function openFile(path: string): number {
  const file = libc().open(new TextEncoder().encode(`${path}\0`), cloexec);
  if (file < 0) throw new Error(`Cannot open "${path}": not there, or not allowed`);
  return file;
}

const netlinkFamily = 16;
const raw = 3;

/** Everything of a kind in this thread's namespace; `undefined` where the kernel knows no such request. */
export function dump(request: DumpRequest): Message[] | undefined {
  const { socket, send, close } = libc();
  const file = socket(netlinkFamily, raw | cloexec, request.protocol ?? 0);
  if (file < 0) return undefined;
  try {
    const bytes = requestBytes(request);
    for (;;) {
      if (send(file, bytes, BigInt(bytes.length), 0) < 0n) return undefined;
      const { messages, interrupted } = receive(file, request.headerLength);
      if (!interrupted) return messages;
    }
  } finally {
    close(file);
  }
}

/** Length of `struct nlmsghdr`: length, type, flags, sequence number, port. */
const prefixLength = 16;
const requestAll = 0x301;

function requestBytes({ type, headerLength, family = 0 }: DumpRequest): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(prefixLength + headerLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, littleEndian);
  view.setUint16(4, type, littleEndian);
  view.setUint16(6, requestAll, littleEndian);
  view.setUint8(prefixLength, family);
  return bytes;
}

const failure = 2;
const done = 3;

/** Flag of a message: something has changed since the first one. */
const changedMeanwhile = 0x10;

function receive(
  file: number,
  headerLength: number,
): { messages: Message[] | undefined; interrupted: boolean } {
  const buffer = new Uint8Array(32_768);
  const messages: Message[] = [];
  let interrupted = false;
  for (;;) {
    const length = Number(libc().recv(file, buffer, BigInt(buffer.length), 0));
    if (length <= 0) throw new Error("Cannot read what the kernel answers: the socket is closed");
    const bytes = buffer.slice(0, length);
    for (const { type, flags, body } of split(bytes)) {
      interrupted ||= (flags & changedMeanwhile) !== 0;
      if (type === done) return { messages, interrupted };
      if (type === failure) return { messages: undefined, interrupted: false };
      messages.push({
        header: viewOf(body.subarray(0, headerLength)),
        attributes: attributesOf(body.subarray(align(headerLength))),
      });
    }
  }
}

function* split(
  bytes: Uint8Array<ArrayBuffer>,
): Generator<{ type: number; flags: number; body: Uint8Array<ArrayBuffer> }> {
  const view = viewOf(bytes);
  for (let at = 0; at < bytes.length;) {
    const length = view.getUint32(at, littleEndian);
    const type = view.getUint16(at + 4, littleEndian);
    const flags = view.getUint16(at + 6, littleEndian);
    yield { type, flags, body: bytes.subarray(at + prefixLength, at + length) };
    at += align(length);
  }
}

/** Bits of an attribute's type that say how its value is made up. */
const typeMask = 0x3fff;

/** Reads attributes, those inside another one for example. */
export function attributesOf(bytes: Uint8Array<ArrayBuffer>): Attributes {
  const view = viewOf(bytes);
  const attributes = new Map<number, Uint8Array<ArrayBuffer>>();
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = view.getUint16(at, littleEndian);
    const type = view.getUint16(at + 2, littleEndian) & typeMask;
    attributes.set(type, bytes.subarray(at + 4, at + length));
    at += align(length);
  }
  return attributes;
}

function align(length: number): number {
  return (length + 3) & ~3;
}

/** A view of the bytes that a part of a buffer has. */
export function viewOf(bytes: Uint8Array<ArrayBuffer>): DataView<ArrayBuffer> {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Netlink has the byte order of the machine; all that Deno runs on have this one. */
export const littleEndian = true;
