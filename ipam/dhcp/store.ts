/**
 * Leases on the disk: one file an attachment, whole or absent. The agent reads them when it
 * starts; a plugin without an agent works with them alone. All is gone after a reboot, as the
 * namespaces are that the leases were for.
 *
 * @module
 */
import type { Decoder, Issue } from "../../cni/decode.ts";
import type { JsonObject } from "../../cni/types.ts";
import type { Step } from "../../host/step.ts";
import type { Attachment } from "../../recipes/own.ts";
import type { RecordedNetns } from "../../recipes/recorded_netns.ts";
import type { Kept } from "../../recipes/record.ts";
import type { Lease } from "./lease.ts";
import type { Message, Options } from "./packet.ts";
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
} from "../../cni/decode.ts";
import { isIfName } from "../../cni/names.ts";
import { failureOf, readFileIfExists, removeFile, writeFileAtomic } from "../../host/files.ts";
import { dropRecord, keepRecord } from "../../recipes/record.ts";
import { leaseDecoder, leaseToJson } from "./lease.ts";
import { decode, encode } from "./packet.ts";
import { leaseFiles, leasePath, usual } from "./place.ts";

/** What is asked of servers for an attachment, each time. */
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

/** A lease with everything that it takes to keep it, or to give it up. */
export interface Entry extends Attachment, RecordedNetns {
  /** Its file. */
  readonly path: string;
  /** Socket of the agent that keeps it; absent for one that no agent keeps. */
  readonly agent?: string | undefined;
  readonly ask: Ask;
  readonly lease: Lease;
  /** DHCPACKs before, whose addresses and routes may still be on the interface. */
  readonly replaces: readonly Message[];
  /** Number of the acquisition: who holds an older one has nothing to say about the file. */
  readonly generation: number;
}

/**
 * An acquisition that may have brought a lease nobody knows of: it is under way, or was cut short.
 * Its file stands beside that of the lease.
 */
export type Intent = Omit<Entry, "lease" | "replaces" | "generation">;

/** The leases in one folder. */
export class Store {
  /** Absent: the one of this host. `say` gets a line about each file that is of no use. */
  constructor(
    readonly dir: string = usual.dir,
    readonly say: (line: string) => void = (line) => console.error(line),
  ) {}

  /** Where the lease of an attachment is kept. */
  pathOf(attachment: Attachment): Promise<string> {
    return leasePath(attachment, this);
  }

  /** Writes a lease; a kill at any moment leaves the one before, or this one. */
  write(entry: Entry): void {
    Deno.mkdirSync(this.dir, { recursive: true, mode: 0o755 });
    writeFileAtomic(entry.path, textOf(recordOf(entry)), { temporary: temporaryOf(entry.path) });
  }

  /** Removes a lease, unless its file holds a later acquisition by now. */
  remove({ path, generation }: Pick<Entry, "path" | "generation">): void {
    const found = this.read(path);
    if (found && found.generation !== generation) return;
    removeFile(path);
    removeFile(temporaryOf(path));
  }

  /** Every lease, in the order of the file names. */
  all(): Entry[] {
    return leaseFiles(this).map((path) => this.read(path))
      .filter((entry) => entry !== undefined);
  }

  /** Notes an acquisition before it begins. */
  intend(intent: Intent): void {
    Deno.mkdirSync(this.dir, { recursive: true, mode: 0o755 });
    const path = intentPath(intent.path);
    writeFileAtomic(path, textOf(intentRecordOf(intent)), { temporary: temporaryOf(path) });
  }

  /** Forgets an acquisition by the path of its lease. */
  forget(path: string): void {
    removeFile(intentPath(path));
    removeFile(temporaryOf(intentPath(path)));
  }

  /** The acquisition noted beside the path of a lease. */
  intent(path: string): Intent | undefined {
    return this.#parse(intentPath(path), (text) => ({ ...parse(intentDecoder, text), path }));
  }

  /** Every acquisition that is noted. */
  intents(): Intent[] {
    return leaseFiles(this, "intent")
      .map((path) => this.intent(path.replace(/intent$/, "json")))
      .filter((intent) => intent !== undefined);
  }

  /**
   * The lease in a file. A file that is none is set aside under another name: what it was about
   * ends by itself, and the rest goes on.
   */
  read(path: string): Entry | undefined {
    return this.#parse(path, (text) => ({ ...parse(entryDecoder, text), path }));
  }

  #parse<T>(path: string, parse: (text: string) => T): T | undefined {
    let parsed: T | undefined;
    const failure = failureOf(() => {
      const text = readFileIfExists(path);
      parsed = text === undefined ? undefined : parse(text);
    });
    if (failure) this.#setAside(path, failure.message);
    return parsed;
  }

  #setAside(path: string, problem: string): void {
    const aside = `${path}.damaged`;
    this.say(`dhcp: Cannot use lease file "${path}": ${problem}; it is kept as "${aside}"`);
    const failure = failureOf(() => Deno.renameSync(path, aside));
    if (failure) this.say(`dhcp: Cannot rename "${path}": ${failure.message}`);
  }
}

function intentPath(path: string): string {
  return path.replace(/json$/, "intent");
}

/** What an ADD that was killed leaves: the next write replaces it. */
function temporaryOf(path: string): string {
  return `${path}.tmp`;
}

/** Steps that write a lease as {@linkcode Store.write} does, for a plugin; a rollback removes it. */
export function storeSteps(entry: Entry): Step[] {
  return keepRecord(recordOf(entry));
}

/** Steps that remove a lease. */
export function dropSteps({ path }: Pick<Entry, "path">): Step[] {
  return dropRecord({ path });
}

function textOf({ network, containerId, ifName, data }: Kept<JsonObject>): string {
  return `${JSON.stringify({ network, containerId, ifName, data })}\n`;
}

function recordOf(entry: Entry): Kept<JsonObject> {
  const { data, ...rest } = intentRecordOf(entry);
  return {
    ...rest,
    data: {
      ...data,
      generation: entry.generation,
      lease: leaseToJson(entry.lease),
      replaces: entry.replaces.map((ack) => encode(ack).toHex()),
    },
  };
}

function intentRecordOf(intent: Intent): Kept<JsonObject> {
  const { path, network, containerId, ifName, netns, identity, agent, ask } = intent;
  return {
    path,
    network,
    containerId,
    ifName,
    data: {
      family: 4,
      netns,
      identity: { dev: identity.dev, ino: identity.ino },
      ...(agent !== undefined && { agent }),
      ask: askToJson(ask),
    },
  };
}

function askToJson({ clientId, requested, provided, broadcast, priority }: Ask): JsonObject {
  return {
    clientId: clientId.toHex(),
    requested: [...requested],
    provided: [...provided].map(([code, value]) => ({ code, value: value.toHex() })),
    broadcast,
    priority,
  };
}

const text = stringThat("text", (value) => value !== "" && value.length < 4096);
const path = stringThat("absolute path", (value) => /^\/[^\0]*$/.test(value));
const code = integer({ min: 0, max: 255 });
const number = integer({ min: 0 });

const bytes: Decoder<Uint8Array> = scalar(
  "bytes in hexadecimal",
  (value) =>
    typeof value === "string" && /^([0-9a-f]{2})*$/.test(value)
      ? Uint8Array.fromHex(value)
      : undefined,
);

const message: Decoder<Message> = scalar(
  "a DHCP message in hexadecimal",
  (value) =>
    typeof value === "string" && /^([0-9a-f]{2})+$/.test(value)
      ? decode(Uint8Array.fromHex(value))
      : undefined,
);

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

const four: Decoder<4> = scalar("4", (value) => value === 4 ? 4 : undefined);

const common = {
  /** Another family's leases will say so. */
  family: required(four, "Family of the address."),
  netns: required(path, "Path of the namespace."),
  identity: required(
    object({ dev: required(number, "Device."), ino: required(number, "Inode.") }),
    "Which namespace it was.",
  ),
  agent: optional(text, "Socket of the agent that keeps it."),
  ask: required(askDecoder, "What is asked of servers."),
};

const kept = {
  generation: required(integer({ min: 1 }), "Number of the acquisition."),
  lease: required(leaseDecoder, "The lease."),
  replaces: required(list(message), "DHCPACKs before."),
};

/** A record's attachment and data in one. */
function recordDecoder<T extends { readonly family: 4 }>(data: Decoder<T>) {
  return map(
    object({
      network: required(text, "Network."),
      containerId: required(text, "Container."),
      ifName: required(stringThat("name of an interface", isIfName), "Interface."),
      data: required(data, "The rest."),
    }),
    ({ data: { family: _, ...data }, ...attachment }) => ({ ...attachment, ...data }),
  );
}

const entryDecoder = recordDecoder(object({ ...common, ...kept }));
const intentDecoder = recordDecoder(object(common));

/** Throws an error that names every field which is wrong. */
function parse<T>(decoder: Decoder<T>, text: string): T {
  const issues: Issue[] = [];
  const decoded = decoder.decode(JSON.parse(text), "", issues);
  if (!decoded || issues.length > 0) throw new Error(issues.map(formatIssue).join("; "));
  return decoded;
}
