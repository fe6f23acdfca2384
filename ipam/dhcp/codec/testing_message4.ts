/**
 * DHCPv4 packets for tests: written out byte by byte, and made of parts.
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { Message4 } from "./message4.ts";
import { parseIp } from "../../../host/ip.ts";
import { concat } from "./bytes.ts";
import { bootReply, unspecified } from "./message4.ts";

/** Random choices that a test can repeat by a seed. */
export interface RandomSource {
  /** A whole number, `min` ≤ n ≤ `max`. */
  integer(min: number, max: number): number;
  /** One of some values. */
  pick<T>(values: readonly T[]): T;
  /** True about once in `n` times. */
  oneIn(n: number): boolean;
}

/** Makes an address of its text. */
export function ip(text: string): Ip {
  return parseIp(text)!;
}

/** Makes bytes of hexadecimal words: `00*64` is a word 64 times, and what follows `#` on a line is a comment. */
export function hex(text: string): Uint8Array {
  const words = text.replaceAll(/#.*/g, "").split(/\s+/).filter((word) => word !== "");
  return concat(words.map((word) => {
    const [digits, times = "1"] = word.split("*");
    return Uint8Array.fromHex(digits!.repeat(Number(times)));
  }));
}

/** The client of the golden packets. */
export const chaddr = hex("02 00 00 00 00 01");
/** Its identifier: `c1/net/eth0` behind a zero. */
export const clientId = hex("00 6331 2f 6e6574 2f 65746830");

const hardware = "020000000001 00*10";
const names = "00*64 00*128 63825363";
const ids = `
  37 02 03 01        # parameter request list: routers, subnet mask
  39 02 05dc         # 1500 bytes
  3d 0c 00 6331 2f 6e6574 2f 65746830`;
const answered = `
  36 04 c0a80101     # server 192.168.1.1
  3a 04 00000096     # T1 150 s
  3b 04 00000106     # T2 262 s`;
const network = `
  01 04 ffffff00
  03 04 c0a80101
  33 04 0000012c     # lease of 300 s`;

/** One packet of each kind; those of clients are about 192.168.1.5. */
export const golden4 = {
  discover: hex(`
    01 01 06 00  12345678  0000 8000
    00000000 00000000 00000000 00000000  ${hardware} ${names}
    35 01 01 ${ids}
    ff  00*34`),
  selecting: hex(`
    01 01 06 00  12345678  0000 8000
    00000000 00000000 00000000 00000000  ${hardware} ${names}
    32 04 c0a80105
    35 01 03
    36 04 c0a80101 ${ids}
    ff  00*22`),
  renewing: hex(`
    01 01 06 00  12345678  0000 0000
    c0a80105 00000000 00000000 00000000  ${hardware} ${names}
    35 01 03 ${ids}
    ff  00*34`),
  /** The packet that is sent again after three seconds. */
  rebinding: hex(`
    01 01 06 00  12345678  0003 0000
    c0a80105 00000000 00000000 00000000  ${hardware} ${names}
    35 01 03 ${ids}
    ff  00*34`),
  initReboot: hex(`
    01 01 06 00  12345678  0000 8000
    00000000 00000000 00000000 00000000  ${hardware} ${names}
    32 04 c0a80105
    35 01 03 ${ids}
    ff  00*28`),
  release: hex(`
    01 01 06 00  12345678  0000 0000
    c0a80105 00000000 00000000 00000000  ${hardware} ${names}
    35 01 07
    36 04 c0a80101
    3d 0c 00 6331 2f 6e6574 2f 65746830
    ff  00*36`),
  decline: hex(`
    01 01 06 00  12345678  0000 0000
    00000000 00000000 00000000 00000000  ${hardware} ${names}
    32 04 c0a80105
    35 01 04
    36 04 c0a80101
    3d 0c 00 6331 2f 6e6574 2f 65746830
    ff  00*30`),
  offer: hex(`
    02 01 06 00  12345678  0000 8000
    00000000 c0a80105 c0a80101 00000000  ${hardware} ${names} ${network}
    35 01 02 ${answered}
    ff  00*20`),
  ack: hex(`
    02 01 06 00  12345678  0000 8000
    00000000 c0a80105 c0a80101 00000000  ${hardware} ${names} ${network}
    35 01 05 ${answered}
    ff  00*20`),
  /** It has passed a relay agent, which broadcasts it. */
  nak: hex(`
    02 01 06 01  12345678  0000 8000
    00000000 00000000 00000000 c0a801fe  ${hardware} ${names}
    35 01 06
    36 04 c0a80101
    38 0e 61646472657373 20 696e 20 757365  # address in use
    ff  00*34`),
} as const;

const empty: Message4 = {
  op: bootReply,
  htype: 1,
  hops: 0,
  xid: 0x12345678,
  secs: 0,
  flags: 0x8000,
  ciaddr: unspecified,
  yiaddr: unspecified,
  siaddr: unspecified,
  giaddr: unspecified,
  chaddr,
  sname: new Uint8Array(),
  file: new Uint8Array(),
  options: new Map(),
};

/** Makes a message to the client of the golden packets from these parts; the others are empty. */
export function messageOf4(parts: Partial<Message4> = {}): Message4 {
  return { ...empty, ...parts };
}

/** Makes options of hexadecimal text by code. */
export function optionsOf4(values: Readonly<Record<number, string>>): Map<number, Uint8Array> {
  return new Map(Object.entries(values).map(([code, text]) => [Number(code), hex(text)]));
}

/** Makes random bytes. */
export function randomBytes(random: RandomSource, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.integer(0, 255));
}

/** Copies bytes with random damage: other bytes, fewer, more, or some of them twice. */
export function mutate(random: RandomSource, bytes: Uint8Array): Uint8Array {
  const cut = random.integer(0, bytes.length);
  switch (random.integer(0, 5)) {
    case 0:
      return bytes.slice(0, cut);
    case 1:
      return concat([bytes, randomBytes(random, random.integer(0, 600))]);
    case 2:
      return concat([bytes.subarray(0, cut), bytes.subarray(random.integer(0, bytes.length))]);
    default: {
      const other = bytes.slice();
      const first = random.oneIn(2) ? Math.min(bytes.length, 236) : 0;
      for (let times = random.integer(1, 12); times > 0; times--) {
        const place = random.integer(first, Math.max(first, bytes.length - 1));
        if (place < other.length) {
          other[place] = random.pick([0, 1, 3, 52, 119, 255, random.integer(0, 255)]);
        }
      }
      return other;
    }
  }
}
