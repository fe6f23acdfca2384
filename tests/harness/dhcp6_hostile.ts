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
import type { Message6, OptionEntry6 } from "../../ipam/dhcp/codec/message6.ts";
import { parseIp } from "../../host/ip.ts";
import { decodeMessage6, encodeMessage6, messageType6 } from "../../ipam/dhcp/codec/message6.ts";
import { writeOption } from "../../ipam/dhcp/codec/option_format.ts";
import { option6, readOption6 } from "../../ipam/dhcp/codec/options6.ts";

const [index, address] = Deno.args as [string, string];
const server = Uint8Array.of(0, 3, 0, 1, 2, 0, 0, 0, 0, 9);
const unlucky = 99;

/** An association with an address. */
function ia(iaid: number, text = address): OptionEntry6 {
  const leased = { address: parseIp(text)!, preferred: 60, valid: 120, options: [] };
  return writeOption(option6.iaNa, {
    iaid,
    t1: 30,
    t2: 48,
    options: [writeOption(option6.iaAddress, leased)],
  });
}

/** The right answer. */
function answer({ type, xid, options }: Message6, iaid: number): Message6 {
  const id = options.find(([code]) => code === option6.clientId.code)!;
  return {
    type: type === messageType6.solicit ? messageType6.advertise : messageType6.reply,
    xid,
    options: [id, writeOption(option6.serverId, server), ia(iaid)],
  };
}

function without(message: Message6, code: number): Message6 {
  return { ...message, options: message.options.filter(([found]) => found !== code) };
}

function withOption(message: Message6, entry: OptionEntry6): Message6 {
  const { options } = without(message, entry[0]);
  return { ...message, options: [...options, entry] };
}

/** What no client should take, whatever it waits for. */
function hostile(right: Message6, iaid: number): Uint8Array[] {
  const bytes = encodeMessage6(right);
  const stranger = Uint8Array.of(0, 3, 0, 1, 2, 0, 0, 0, 0, 8);
  const wrong: Message6[] = [
    { ...right, type: messageType6.solicit },
    { ...right, type: messageType6.reconfigure },
    { ...right, xid: right.xid ^ 1 },
    without(right, option6.clientId.code),
    withOption(right, writeOption(option6.clientId, stranger)),
    without(right, option6.serverId.code),
    without(right, option6.iaNa.code),
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
    ...wrong.map(encodeMessage6),
  ];
}

const listener = Deno.listenDatagram({ transport: "udp", hostname: "::", port: 547 });
await listener.joinMulticastV6("ff02::1:2", Number(index));
console.log("ready");
for await (const [bytes, from] of listener) {
  const request = decodeMessage6(bytes);
  const iaid = request && readOption6(request.options, option6.iaNa)?.iaid;
  if (!request || iaid === undefined) continue;
  const { hostname } = from as Deno.NetAddr;
  const to = { transport: "udp", hostname: `${hostname}%${index}`, port: 546 } as const;
  const right = answer(request, iaid);
  for (const packet of hostile(right, iaid)) await listener.send(packet, to);
  if (iaid !== unlucky) await listener.send(encodeMessage6(right), to);
}
