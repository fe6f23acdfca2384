/**
 * The program at the other end of a tap device, as a virtual machine is: opens it,
 * as another user if told so, asks for neighbours by ARP, and says what came of
 * each request, one JSON line a request. Runs inside the container's namespace.
 *
 * @module
 */

/** What it is asked to do. */
export type TapRequest =
  | {
    readonly do: "open";
    readonly name: string;
    readonly multiQueue?: boolean;
    /** Whom it becomes after it has opened `/dev/net/tun`; root when absent. */
    readonly user?: { readonly uid: number; readonly gid: number };
  }
  | {
    readonly do: "ask";
    /** The IPv4 address whose owner is looked for. */
    readonly address: string;
    /** Milliseconds until it gives up. */
    readonly timeout: number;
  };

/** What it answers: `0` for success or an error number; the hardware address of a neighbour, if any. */
export interface TapReply {
  readonly errno: number;
  readonly mac?: string;
}

const libc = () =>
  Deno.dlopen("libc.so.6", {
    open: { parameters: ["buffer", "i32"], result: "i32" },
    ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
    read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
    write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
    poll: { parameters: ["buffer", "u64", "i32"], result: "i32" },
    setgroups: { parameters: ["usize", "pointer"], result: "i32" },
    setresgid: { parameters: ["u32", "u32", "u32"], result: "i32" },
    setresuid: { parameters: ["u32", "u32", "u32"], result: "i32" },
    __errno_location: { parameters: [], result: "pointer" },
  }).symbols;

type Libc = ReturnType<typeof libc>;

const setInterface = 0x400454can;
const flags = { tap: 0x2, noPi: 0x1000, multiQueue: 0x100 } as const;

/** Its own addresses on the device's network. */
const own = { mac: [2, 0, 0, 0, 0, 0x99], ip: [10, 1, 2, 250] } as const;

class TapProgram {
  readonly #c: Libc = libc();
  #fd = -1;

  open({ name, multiQueue, user }: Extract<TapRequest, { do: "open" }>): TapReply {
    const { open, ioctl, setgroups, setresgid, setresuid } = this.#c;
    this.#fd = open(new TextEncoder().encode("/dev/net/tun\0"), 2);
    if (this.#fd < 0) return this.#failure();
    if (user) {
      const { uid, gid } = user;
      const ends = [setgroups(0n, null), setresgid(gid, gid, gid), setresuid(uid, uid, uid)];
      if (ends.some((end) => end !== 0)) return this.#failure();
    }
    const request = new Uint8Array(40);
    request.set(new TextEncoder().encode(name));
    const wanted = flags.tap | flags.noPi | (multiQueue ? flags.multiQueue : 0);
    new DataView(request.buffer).setUint16(16, wanted, true);
    return ioctl(this.#fd, setInterface, request) === 0 ? { errno: 0 } : this.#failure();
  }

  ask({ address, timeout }: Extract<TapRequest, { do: "ask" }>): TapReply {
    const target = address.split(".").map(Number);
    const frame = arpRequest(target);
    const end = Date.now() + timeout;
    while (Date.now() < end) {
      // A bridge may not have noticed yet that the device is open: keep asking until the end.
      if (this.#c.write(this.#fd, frame, BigInt(frame.length)) < 0n) return this.#failure();
      while (this.#isReadable(100)) {
        const mac = arpAnswer(this.#read(), target);
        if (mac) return { errno: 0, mac };
      }
    }
    return { errno: 0 };
  }

  #isReadable(timeout: number): boolean {
    const wanted = new Uint8Array(8);
    const view = new DataView(wanted.buffer);
    view.setInt32(0, this.#fd, true);
    view.setInt16(4, 1, true);
    return this.#c.poll(wanted, 1n, timeout) > 0;
  }

  #read(): Uint8Array {
    const frame = new Uint8Array(65536);
    return frame.subarray(0, Number(this.#c.read(this.#fd, frame, BigInt(frame.length))));
  }

  #failure(): TapReply {
    return { errno: new Deno.UnsafePointerView(this.#c.__errno_location()!).getInt32() };
  }
}

function arpRequest(target: readonly number[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([
    ...Array(6).fill(0xff),
    ...own.mac,
    ...[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
    ...[...own.mac, ...own.ip],
    ...[...Array(6).fill(0), ...target],
    ...Array(18).fill(0),
  ]);
}

/** The hardware address that an answer to {@linkcode arpRequest} tells. */
function arpAnswer(frame: Uint8Array, target: readonly number[]): string | undefined {
  const at = (start: number, bytes: readonly number[]) =>
    bytes.every((byte, index) => frame[start + index] === byte);
  if (!at(0, own.mac) || !at(12, [8, 6]) || !at(20, [0, 2]) || !at(28, target)) return undefined;
  const octets = [...frame.subarray(22, 28)].map((byte) => byte.toString(16).padStart(2, "0"));
  return octets.join(":");
}

async function main(): Promise<void> {
  const program = new TapProgram();
  let rest = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const request: TapRequest = JSON.parse(line);
      const reply = request.do === "open" ? program.open(request) : program.ask(request);
      console.log(JSON.stringify(reply));
    }
  }
}

if (import.meta.main) await main();
