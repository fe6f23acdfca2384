/**
 * A DHCPv6 server that answers each packet with everything that no client should take,
 * and then, unless the client's association is number 99, with what is right:
 *
 *   deno run --allow-net --unstable-net dhcp6_hostile.ts INDEX ADDRESS
 *
 * INDEX is the number of its interface.
 *
 * @module
 */
/// <reference lib="deno.unstable" />
import type { Entry, Message } from "../../ipam/dhcp/codec/message6.ts";
import { parseIp } from "../../host/ip.ts";
import { writeOption } from "../../ipam/dhcp/codec/options4.ts";
import { option, readOption } from "../../ipam/dhcp/codec/options6.ts";
import { decode, encode, messageType } from "../../ipam/dhcp/codec/message6.ts";

const [index, address] = Deno.args as [string, string];
const server = Uint8Array.of(0, 3, 0, 1, 2, 0, 0, 0, 0, 9);
const unlucky = 99;

/** An association with an address. */
function ia(iaid: number, text = address): Entry {
  const leased = { address: parseIp(text)!, preferred: 60, valid: 120, options: [] };
  return writeOption(option.ia, {
    iaid,
    t1: 30,
    t2: 48,
    options: [writeOption(option.iaAddress, leased)],
  });
}

/** The right answer. */
function answer({ type, xid, options }: Message, iaid: number): Message {
  const id = options.find(([code]) => code === option.clientId.code)!;
  return {
    type: type === messageType.solicit ? messageType.advertise : messageType.reply,
    xid,
    options: [id, writeOption(option.serverId, server), ia(iaid)],
  };
}

function without(message: Message, code: number): Message {
  return { ...message, options: message.options.filter(([found]) => found !== code) };
}

function withOption(message: Message, entry: Entry): Message {
  const { options } = without(message, entry[0]);
  return { ...message, options: [...options, entry] };
}

/** What no client should take, whatever it waits for. */
function hostile(right: Message, iaid: number): Uint8Array[] {
  const bytes = encode(right);
  const stranger = Uint8Array.of(0, 3, 0, 1, 2, 0, 0, 0, 0, 8);
  const wrong: Message[] = [
    { ...right, type: messageType.solicit },
    { ...right, type: messageType.reconfigure },
    { ...right, xid: right.xid ^ 1 },
    without(right, option.clientId.code),
    withOption(right, writeOption(option.clientId, stranger)),
    without(right, option.serverId.code),
    without(right, option.ia.code),
    withOption(right, ia(iaid + 1)),
    withOption(right, ia(iaid, "ff02::1")),
    withOption(right, ia(iaid, "::1")),
    // About the one and about another.
    { ...right, options: [...right.options, ia(iaid + 1)] },
  ];
  return [
    new Uint8Array(),
    new Uint8Array(1),
    new Uint8Array(1200).fill(255),
    crypto.getRandomValues(new Uint8Array(300)),
    bytes.slice(0, 3),
    bytes.slice(0, bytes.length - 1),
    // An option that is longer than the packet.
    new Uint8Array([...bytes.slice(0, 4), 0, 1, 255, 255]),
    new Uint8Array(9000).fill(1),
    ...wrong.map(encode),
  ];
}

const listener = Deno.listenDatagram({ transport: "udp", hostname: "::", port: 547 });
await listener.joinMulticastV6("ff02::1:2", Number(index));
console.log("ready");
for await (const [bytes, from] of listener) {
  const request = decode(bytes);
  const iaid = request && readOption(request.options, option.ia)?.iaid;
  if (!request || iaid === undefined) continue;
  const { hostname } = from as Deno.NetAddr;
  const to = { transport: "udp", hostname: `${hostname}%${index}`, port: 546 } as const;
  const right = answer(request, iaid);
  for (const packet of hostile(right, iaid)) await listener.send(packet, to);
  if (iaid !== unlucky) await listener.send(encode(right), to);
}
