/**
 * DHCPv6 packets for tests: written out byte by byte, and made of parts.
 *
 * @module
 */
import type { Message6, OptionEntry6 } from "./message6.ts";
import { hex } from "./testing_message4.ts";

/** The client of the golden packets. */
export const duid = hex("0004 00112233445586778899aabbccddeeff");
/** Identifier of its IA_NA. */
export const iaid = 0x0a0b0c0d;
/** The server of the golden packets. */
export const serverDuid = hex("0003 0001 020000000099");

const client = "0001 0012 0004 00112233445586778899aabbccddeeff";
const server = "0002 000a 0003 0001 020000000099";
const address = "20010db8 00000000 00000000 00000005";
/** An IA_NA of a client, which leaves times to the server. */
const ia = `
  0003 0028 0a0b0c0d 00000000 00000000
    0005 0018 ${address} 00000000 00000000`;
/** An IA_NA of a server: T1 150 s, T2 240 s, preferred 300 s, valid 600 s. */
const leased = `
  0003 0028 0a0b0c0d 00000096 000000f0
    0005 0018 ${address} 0000012c 00000258`;
const requested = "0006 0006 0017 0018 0052  # name servers, search list, SOL_MAX_RT";
const elapsed = "0008 0002 0000";
const names = `
  0017 0020 20010db8 00000000 00000000 00000053
            20010db8 00000000 00000000 00000054
  0018 001b 07 6578616d706c65 03 6f7267 00          # example.org
            01 61 07 6578616d706c65 02 6575 00      # a.example.eu`;

/** One packet of each kind; the address is `2001:db8::5`. */
export const golden6 = {
  solicit: hex(`01 123456 ${client}
    0003 000c 0a0b0c0d 00000000 00000000
    ${requested}
    ${elapsed}
    000e 0000                       # rapid commit`),
  /** A SOLICIT for an address. */
  solicitAddress: hex(`01 123456 ${client} ${ia}
    ${requested}
    ${elapsed}
    000e 0000`),
  advertise: hex(`02 123456 ${client} ${server} ${leased}
    0007 0001 0a                    # preference 10
    ${names}`),
  request: hex(`03 123456 ${client} ${server} ${ia}
    ${requested}
    ${elapsed}`),
  confirm: hex(`04 123456 ${client} ${ia} ${elapsed}`),
  renew: hex(`05 123456 ${client} ${server} ${ia}
    ${requested}
    ${elapsed}`),
  /** The packet that is sent again after ten seconds. */
  rebind: hex(`06 123456 ${client} ${ia}
    ${requested}
    0008 0002 03e8`),
  reply: hex(`07 123456 ${client} ${server} ${leased}
    000d 0004 0000 6f6b             # success: ok
    ${names}
    001f 0010 20010db8 00000000 00000000 00000123  # SNTP
    0038 0014 0001 0010 20010db8 00000000 00000000 00000123  # NTP
    0052 0004 00000e10              # SOL_MAX_RT 3600 s
    0053 0004 00000e10              # INF_MAX_RT 3600 s`),
  /** A REPLY to a SOLICIT. */
  rapidReply: hex(`07 123456 ${client} ${server} ${leased}
    000e 0000`),
  noAddresses: hex(`07 123456 ${client} ${server}
    0003 0016 0a0b0c0d 00000000 00000000
      000d 0006 0002 66756c6c       # NoAddrsAvail: full`),
  release: hex(`08 123456 ${client} ${server} ${ia} ${elapsed}`),
  decline: hex(`09 123456 ${client} ${server} ${ia} ${elapsed}`),
  informationRequest: hex(`0b 123456 ${client}
    0006 0006 0017 0018 0053
    ${elapsed}`),
} as const;

/** Makes a message. */
export function messageOf6(type: number, xid: number, options: readonly OptionEntry6[]): Message6 {
  return { type, xid, options };
}

/** Makes options in order, of pairs of a code and hexadecimal text. */
export function optionsOf6(
  ...values: readonly (readonly [code: number, text: string])[]
): OptionEntry6[] {
  return values.map(([code, text]) => [code, hex(text)]);
}
