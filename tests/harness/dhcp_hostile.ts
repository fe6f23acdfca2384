/**
 * A DHCP server that answers each packet with everything that no client should take,
 * and then, unless the client has a host name, with what is right:
 *
 *   deno run --allow-net --unstable-net dhcp_hostile.ts SERVER ADDRESS
 *
 * @module
 */
/// <reference lib="deno.unstable" />
import type { Ip } from "../../host/ip.ts";
import type { Message4 } from "../../ipam/dhcp/codec/message4.ts";
import { parseIp } from "../../host/ip.ts";
import {
  bootReply,
  bootRequest,
  decodeMessage4,
  encodeMessage4,
  unspecified,
} from "../../ipam/dhcp/codec/message4.ts";
import { writeOption } from "../../ipam/dhcp/codec/option_format.ts";
import { messageType4, option4, readOption4 } from "../../ipam/dhcp/codec/options4.ts";

const [server, address] = Deno.args.map((text) => parseIp(text)!) as [Ip, Ip];

/** The right answer. */
function answer(request: Message4): Message4 {
  const asked = readOption4(request.options, option4.messageType);
  const type = asked === messageType4.discover ? messageType4.offer : messageType4.ack;
  return {
    ...request,
    op: bootReply,
    ciaddr: unspecified,
    yiaddr: address,
    options: new Map([
      writeOption(option4.messageType, type),
      writeOption(option4.serverId, server),
      [1, Uint8Array.of(255, 255, 255, 0)],
      [51, Uint8Array.of(0, 0, 0, 120)],
    ]),
  };
}

function without(message: Message4, code: number): Message4 {
  return { ...message, options: new Map([...message.options].filter(([key]) => key !== code)) };
}

/** What no client should take, whatever it waits for; one that has chosen a server heeds no other. */
function hostile(right: Message4, chosen: boolean): Uint8Array[] {
  const bytes = encodeMessage4(right);
  const other = parseIp("203.0.113.9")!;
  const nak = new Map([
    ...without(right, 1).options,
    writeOption(option4.messageType, messageType4.nak),
  ]);
  const wrong: Message4[] = [
    { ...right, op: bootRequest },
    { ...right, xid: (right.xid ^ 1) >>> 0 },
    { ...right, chaddr: right.chaddr.map((byte) => byte ^ 1) },
    { ...right, chaddr: right.chaddr.slice(0, 5) },
    without(right, option4.messageType.code),
    without(right, option4.serverId.code),
    { ...right, yiaddr: unspecified },
    { ...right, yiaddr: parseIp("127.0.0.1")! },
    { ...right, options: new Map([...right.options, writeOption(option4.messageType, 9)]) },
    ...(chosen
      ? [{ ...right, options: new Map([...nak, writeOption(option4.serverId, other)]) }]
      : []),
  ];
  return [
    new Uint8Array(),
    new Uint8Array(1),
    new Uint8Array(1400).fill(255),
    crypto.getRandomValues(new Uint8Array(300)),
    bytes.slice(0, 239),
    // No END, and an option that is longer than the packet.
    bytes.slice(0, 250),
    new Uint8Array([...bytes.slice(0, 240), 53, 255, 2]),
    // More than one frame.
    new Uint8Array(9000).fill(1),
    ...wrong.map(encodeMessage4),
  ];
}

const hostName = 12;
const listener = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 67 });
const speaker = Deno.listenDatagram({ transport: "udp", hostname: Deno.args[0]!, port: 0 });
const to = { transport: "udp", hostname: "255.255.255.255", port: 68 } as const;
console.log("ready");
for await (const [bytes] of listener) {
  const request = decodeMessage4(bytes);
  if (!request) continue;
  const right = answer(request);
  const chosen = request.options.has(option4.serverId.code);
  for (const packet of hostile(right, chosen)) await speaker.send(packet, to);
  if (!request.options.has(hostName)) await speaker.send(encodeMessage4(right), to);
}
