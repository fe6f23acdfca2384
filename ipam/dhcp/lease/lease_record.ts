/**
 * The record of a lease: everything that it takes to keep it or to give it up, and its form on the
 * disk. An intent is the record of an acquisition before there is a lease.
 *
 * @module
 */
import type { AttachmentKey } from "../../../cni/attachment_key.ts";
import type { Decoder, Issue } from "../../../cni/decode.ts";
import type { JsonObject } from "../../../cni/types.ts";
import type { Family } from "../../../host/ip.ts";
import type { AttachmentRecord } from "../../../recipes/record.ts";
import type { RecordedNetns } from "../../../recipes/recorded_netns.ts";
import type { Message4 } from "../codec/message4.ts";
import type { Message6 } from "../codec/message6.ts";
import type { ClientSettings4, ClientSettings6 } from "../conf/client_settings.ts";
import type { ExchangeGoal4 } from "../exchange/client_message4.ts";
import type { ExchangeGoal6 } from "../exchange/client_message6.ts";
import type { Lease } from "./lease.ts";
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
import { decodeMessage4, encodeMessage4 } from "../codec/message4.ts";
import { decodeMessage6, encodeMessage6 } from "../codec/message6.ts";
import { lease4Decoder, lease4ToJson } from "./lease4.ts";
import { lease6Decoder, lease6ToJson } from "./lease6.ts";

/** Types of each family: acknowledgements, goals of exchanges, settings of the client. */
export interface FamilyTypes {
  readonly 4: {
    readonly ack: Message4;
    readonly goal: ExchangeGoal4;
    readonly client: ClientSettings4;
  };
  readonly 6: {
    readonly ack: Message6;
    readonly goal: ExchangeGoal6;
    readonly client: ClientSettings6;
  };
}

/** A {@linkcode LeaseIntent} of one family. */
export interface LeaseIntentOf<F extends Family> extends AttachmentKey, RecordedNetns {
  readonly family: F;
  /** File of the lease. */
  readonly path: string;
  /** Socket of the agent that keeps the lease; absent when no agent does. */
  readonly agent?: string | undefined;
  readonly client: FamilyTypes[F]["client"];
}

/** A {@linkcode LeaseRecord} of one family. */
export interface LeaseRecordOf<F extends Family> extends LeaseIntentOf<F> {
  readonly lease: Lease<FamilyTypes[F]["ack"]>;
  /** Earlier acknowledgements whose addresses and routes may still be on the interface. */
  readonly replacedAcks: readonly FamilyTypes[F]["ack"][];
  /** Number of the acquisition: the holder of an older one must leave the file alone. */
  readonly generation: number;
}

/** A lease with everything that it takes to keep it, or to give it up. */
export type LeaseRecord = { readonly [F in Family]: LeaseRecordOf<F> }[Family];

/** An acquisition that is under way, or was cut short: it may have brought a lease nobody knows of. */
export type LeaseIntent = { readonly [F in Family]: LeaseIntentOf<F> }[Family];

/** Writes a lease for its file. */
export function leaseRecordFile(record: LeaseRecord): AttachmentRecord<JsonObject> {
  const { data, ...rest } = leaseIntentFile(record);
  return {
    ...rest,
    data: { ...data, generation: record.generation, ...leaseData(record) },
  };
}

function leaseData(record: LeaseRecord): JsonObject {
  return record.family === 4
    ? {
      lease: lease4ToJson(record.lease),
      replaces: record.replacedAcks.map((ack) => encodeMessage4(ack).toHex()),
    }
    : {
      lease: lease6ToJson(record.lease),
      replaces: record.replacedAcks.map((ack) => encodeMessage6(ack).toHex()),
    };
}

/** Writes an acquisition for its file. */
export function leaseIntentFile(intent: LeaseIntent): AttachmentRecord<JsonObject> {
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
      ask: intent.family === 4 ? client4ToJson(intent.client) : client6ToJson(intent.client),
    },
  };
}

function client4ToJson(
  { clientId, requested, provided, broadcast, priority }: ClientSettings4,
): JsonObject {
  return {
    clientId: clientId.toHex(),
    requested: [...requested],
    provided: [...provided].map(([code, value]) => ({ code, value: value.toHex() })),
    broadcast,
    priority,
  };
}

function client6ToJson({ duid, iaid, requested }: ClientSettings6): JsonObject {
  return { duid: duid.toHex(), iaid, requested: [...requested] };
}

const text = stringThat("text", (value) => value !== "" && value.length < 4096);
const path = stringThat("absolute path", (value) => /^\/[^\0]*$/.test(value));
const code4 = integer({ min: 0, max: 255 });
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

const client4Decoder: Decoder<ClientSettings4> = map(
  object({
    clientId: required(bytes, "Value of option 61."),
    requested: required(list(code4), "Codes of option 55."),
    provided: required(
      list(object({ code: required(code4, "Code."), value: required(bytes, "Value.") })),
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

const client6Decoder: Decoder<ClientSettings6> = object({
  duid: required(bytes, "Value of option 1."),
  iaid: required(integer({ min: 0, max: 0xffff_ffff }), "Identifier of the IA_NA."),
  requested: required(list(code6), "Codes of option 6."),
});

/** Fields of an acquisition in a file. */
function intentFields<F extends Family>(
  family: F,
  client: Decoder<FamilyTypes[F]["client"]>,
) {
  const same: Decoder<F> = scalar(`${family}`, (value) => value === family ? family : undefined);
  return {
    family: required(same, "Family of the address."),
    netns: required(path, "Path of the namespace."),
    identity: required(
      object({ dev: required(number, "Device."), ino: required(number, "Inode.") }),
      "Identity of the namespace.",
    ),
    agent: optional(text, "Socket of the agent that keeps the lease."),
    ask: required(client, "Settings of the client."),
  };
}

/** Further fields of a lease in a file. */
function leaseFields<A>(lease: Decoder<Lease<A>>, ack: Decoder<A>) {
  return {
    generation: required(integer({ min: 1 }), "Number of the acquisition."),
    lease: required(lease, "The lease."),
    replaces: required(list(ack), "Earlier acknowledgements."),
  };
}

/** A whole file: the attachment, and the data about it. */
function fileDecoder<T>(data: Decoder<T>) {
  return object({
    network: required(text, "Network."),
    containerId: required(text, "Container."),
    ifName: required(stringThat("name of an interface", isIfName), "Interface."),
    data: required(data, "The rest."),
  });
}

/** Data that has the settings of the client under the name that files have for them. */
interface IntentData<Client> {
  readonly ask: Client;
}

function toIntent<Client, Rest>(
  { data: { ask: client, ...data }, ...attachment }: AttachmentKey & {
    readonly data: IntentData<Client> & Rest;
  },
) {
  return { ...attachment, ...data, client };
}

function toRecord<Client, Ack, Rest>(
  { data: { ask: client, replaces: replacedAcks, ...data }, ...attachment }: AttachmentKey & {
    readonly data: IntentData<Client> & { readonly replaces: readonly Ack[] } & Rest;
  },
) {
  return { ...attachment, ...data, client, replacedAcks };
}

const intent4 = intentFields(4, client4Decoder);
const intent6 = intentFields(6, client6Decoder);
const lease4 = leaseFields(lease4Decoder, message(decodeMessage4));
const lease6 = leaseFields(lease6Decoder, message(decodeMessage6));

const files = {
  lease: {
    4: fileDecoder(object({ ...intent4, ...lease4 })),
    6: fileDecoder(object({ ...intent6, ...lease6 })),
  },
  intent: { 4: fileDecoder(object(intent4)), 6: fileDecoder(object(intent6)) },
} as const;

/** Reads a lease of a family. Throws an error that names every wrong field. */
export function parseLeaseRecord(family: Family, text: string): Omit<LeaseRecord, "path"> {
  return family === 4
    ? toRecord(parse(files.lease[4], text))
    : toRecord(parse(files.lease[6], text));
}

/** Reads an acquisition of a family. Throws an error that names every wrong field. */
export function parseLeaseIntent(family: Family, text: string): Omit<LeaseIntent, "path"> {
  return family === 4
    ? toIntent(parse(files.intent[4], text))
    : toIntent(parse(files.intent[6], text));
}

function parse<T>(decoder: Decoder<T>, text: string): T {
  const issues: Issue[] = [];
  const decoded = decoder.decode(JSON.parse(text), "", issues);
  if (!decoded || issues.length > 0) throw new Error(issues.map(formatIssue).join("; "));
  return decoded;
}
