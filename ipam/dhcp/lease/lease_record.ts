/**
 * A lease with everything that it takes to keep it or to give it up, of either family, and how
 * it is written down.
 *
 * @module
 */
import type { Decoder, Issue } from "../../../cni/decode.ts";
import type { AttachmentKey } from "../../../cni/attachment_key.ts";
import type { JsonObject } from "../../../cni/types.ts";
import type { RecordedNetns } from "../../../recipes/recorded_netns.ts";
import type { Kept } from "../../../recipes/record.ts";
import type { Goal } from "../exchange/exchange4.ts";
import type { Client as Client6, Goal as Goal6 } from "../exchange/exchange6.ts";
import type { Lease } from "./lease_machine.ts";
import type { Message, Options } from "../codec/message4.ts";
import type { Message as Message6 } from "../codec/message6.ts";
import {
  boolean,
  formatIssue,
  integer,
  list,
  map,
  object,
  optional,
  required,
  scalar,
  stringThat,
} from "../../../cni/decode.ts";
import { isIfName } from "../../../cni/names.ts";
import * as lease4 from "./lease_machine.ts";
import * as lease6 from "./lease6.ts";
import * as packet4 from "../codec/message4.ts";
import * as packet6 from "../codec/message6.ts";

/** What is asked of DHCPv4 servers for an attachment, each time. */
export interface Ask {
  /** Value of option 61. */
  readonly clientId: Uint8Array;
  /** Codes of option 55. */
  readonly requested: readonly number[];
  /** Further options. */
  readonly provided: Options;
  /** Wants broadcast answers. */
  readonly broadcast: boolean;
  /** Metric of every route; 0 leaves it to the kernel. */
  readonly priority: number;
}

/** What is asked of DHCPv6 servers for an attachment, each time. */
export type Ask6 = Pick<Client6, "duid" | "iaid" | "requested">;

/** The families of addresses. */
export type Family = 4 | 6;

/** Both. */
export const families: readonly Family[] = [4, 6];

/** What answers, goals and questions are in each family. */
export interface Words {
  readonly 4: { readonly ack: Message; readonly goal: Goal; readonly ask: Ask };
  readonly 6: { readonly ack: Message6; readonly goal: Goal6; readonly ask: Ask6 };
}

/** An {@linkcode Intent} of one family. */
export interface IntentOf<F extends Family> extends AttachmentKey, RecordedNetns {
  readonly family: F;
  /** File of the lease. */
  readonly path: string;
  /** Socket of the agent that keeps it; absent for one that no agent keeps. */
  readonly agent?: string | undefined;
  readonly ask: Words[F]["ask"];
}

/** An {@linkcode Entry} of one family. */
export interface EntryOf<F extends Family> extends IntentOf<F> {
  readonly lease: Lease<Words[F]["ack"]>;
  /** Acknowledgements before, whose addresses and routes may still be on the interface. */
  readonly replaces: readonly Words[F]["ack"][];
  /** Number of the acquisition: who holds an older one has nothing to say about the file. */
  readonly generation: number;
}

/** A lease with everything that it takes to keep it, or to give it up. */
export type Entry = { readonly [F in Family]: EntryOf<F> }[Family];

/**
 * An acquisition that may have brought a lease nobody knows of: it is under way, or was cut short.
 * Its file stands beside that of the lease.
 */
export type Intent = { readonly [F in Family]: IntentOf<F> }[Family];

/** A lease as the disk has it. */
export function entryRecord(entry: Entry): Kept<JsonObject> {
  const { data, ...rest } = intentRecord(entry);
  return {
    ...rest,
    data: { ...data, generation: entry.generation, ...leaseJson(entry) },
  };
}

function leaseJson(entry: Entry): JsonObject {
  return entry.family === 4
    ? {
      lease: lease4.leaseToJson(entry.lease),
      replaces: entry.replaces.map((ack) => packet4.encode(ack).toHex()),
    }
    : {
      lease: lease6.leaseToJson(entry.lease),
      replaces: entry.replaces.map((ack) => packet6.encode(ack).toHex()),
    };
}

/** An acquisition as the disk has it. */
export function intentRecord(intent: Intent): Kept<JsonObject> {
  const { path, network, containerId, ifName, family, netns, identity, agent } = intent;
  return {
    path,
    network,
    containerId,
    ifName,
    data: {
      family,
      netns,
      identity: { dev: identity.dev, ino: identity.ino },
      ...(agent !== undefined && { agent }),
      ask: intent.family === 4 ? askJson(intent.ask) : ask6Json(intent.ask),
    },
  };
}

function askJson({ clientId, requested, provided, broadcast, priority }: Ask): JsonObject {
  return {
    clientId: clientId.toHex(),
    requested: [...requested],
    provided: [...provided].map(([code, value]) => ({ code, value: value.toHex() })),
    broadcast,
    priority,
  };
}

function ask6Json({ duid, iaid, requested }: Ask6): JsonObject {
  return { duid: duid.toHex(), iaid, requested: [...requested] };
}

const text = stringThat("text", (value) => value !== "" && value.length < 4096);
const path = stringThat("absolute path", (value) => /^\/[^\0]*$/.test(value));
const code = integer({ min: 0, max: 255 });
const code6 = integer({ min: 0, max: 0xffff });
const number = integer({ min: 0 });

const bytes: Decoder<Uint8Array> = scalar("bytes in hexadecimal", fromHex);

function message<T>(decode: (bytes: Uint8Array) => T | undefined): Decoder<T> {
  return scalar("a DHCP message in hexadecimal", (value) => {
    const bytes = fromHex(value);
    return bytes && decode(bytes);
  });
}

function fromHex(value: unknown): Uint8Array | undefined {
  const isHex = typeof value === "string" && /^([0-9a-f]{2})*$/.test(value);
  return isHex ? Uint8Array.fromHex(value) : undefined;
}

const askDecoder: Decoder<Ask> = map(
  object({
    clientId: required(bytes, "Value of option 61."),
    requested: required(list(code), "Codes of option 55."),
    provided: required(
      list(object({ code: required(code, "Code."), value: required(bytes, "Value.") })),
      "Further options.",
    ),
    broadcast: required(boolean(), "Wants broadcast answers."),
    priority: required(number, "Metric of routes."),
  }),
  ({ provided, ...rest }) => ({
    ...rest,
    provided: new Map(provided.map(({ code, value }) => [code, value])),
  }),
);

const ask6Decoder: Decoder<Ask6> = object({
  duid: required(bytes, "Value of option 1."),
  iaid: required(integer({ min: 0, max: 0xffff_ffff }), "Number of the association."),
  requested: required(list(code6), "Codes of option 6."),
});

/** What a file says of an acquisition, with the decoders of its family. */
function common<F extends Family>(family: F, ask: Decoder<Words[F]["ask"]>) {
  const same: Decoder<F> = scalar(`${family}`, (value) => value === family ? family : undefined);
  return {
    family: required(same, "Family of the address."),
    netns: required(path, "Path of the namespace."),
    identity: required(
      object({ dev: required(number, "Device."), ino: required(number, "Inode.") }),
      "Which namespace it was.",
    ),
    agent: optional(text, "Socket of the agent that keeps it."),
    ask: required(ask, "What is asked of servers."),
  };
}

/** What a file says of a lease besides. */
function kept<A>(lease: Decoder<Lease<A>>, ack: Decoder<A>) {
  return {
    generation: required(integer({ min: 1 }), "Number of the acquisition."),
    lease: required(lease, "The lease."),
    replaces: required(list(ack), "Acknowledgements before."),
  };
}

/** A record's attachment and data in one. */
function recordDecoder<T>(data: Decoder<T>) {
  return map(
    object({
      network: required(text, "Network."),
      containerId: required(text, "Container."),
      ifName: required(stringThat("name of an interface", isIfName), "Interface."),
      data: required(data, "The rest."),
    }),
    ({ data, ...attachment }) => ({ ...attachment, ...data }),
  );
}

const four = common(4, askDecoder);
const six = common(6, ask6Decoder);
const kept4 = kept(lease4.leaseDecoder, message(packet4.decode));
const kept6 = kept(lease6.leaseDecoder, message(packet6.decode));

const decoders = {
  entry: {
    4: recordDecoder(object({ ...four, ...kept4 })),
    6: recordDecoder(object({ ...six, ...kept6 })),
  },
  intent: { 4: recordDecoder(object(four)), 6: recordDecoder(object(six)) },
} as const;

/** Reads a lease of a family. Throws an error that names every field which is wrong. */
export function parseEntry(family: Family, text: string): Omit<Entry, "path"> {
  return family === 4 ? parse(decoders.entry[4], text) : parse(decoders.entry[6], text);
}

/** Reads an acquisition of a family. Throws an error that names every field which is wrong. */
export function parseIntent(family: Family, text: string): Omit<Intent, "path"> {
  return family === 4 ? parse(decoders.intent[4], text) : parse(decoders.intent[6], text);
}

function parse<T>(decoder: Decoder<T>, text: string): T {
  const issues: Issue[] = [];
  const decoded = decoder.decode(JSON.parse(text), "", issues);
  if (!decoded || issues.length > 0) throw new Error(issues.map(formatIssue).join("; "));
  return decoded;
}
