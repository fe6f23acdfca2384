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
  refine,
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

/** How an entry looks in its file; another family's leases will say so in `family`. */
interface Data {
  readonly family: 4;
  readonly netns: string;
  readonly identity: { readonly dev: number; readonly ino: number };
  readonly agent: string | undefined;
  readonly ask: Ask;
  readonly lease: Lease;
  readonly replaces: readonly Message[];
  readonly generation: number;
}

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

  /**
   * The lease in a file. A file that is none is set aside under another name: what it was about
   * ends by itself, and the rest goes on.
   */
  read(path: string): Entry | undefined {
    let entry: Entry | undefined;
    const failure = failureOf(() => {
      const text = readFileIfExists(path);
      entry = text === undefined ? undefined : parseEntry(path, text);
    });
    if (failure) this.#setAside(path, failure.message);
    return entry;
  }

  #setAside(path: string, problem: string): void {
    const aside = `${path}.damaged`;
    this.say(`dhcp: Cannot use lease file "${path}": ${problem}; it is kept as "${aside}"`);
    const failure = failureOf(() => Deno.renameSync(path, aside));
    if (failure) this.say(`dhcp: Cannot rename "${path}": ${failure.message}`);
  }
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
  const { path, network, containerId, ifName, netns, identity, agent, generation } = entry;
  return {
    path,
    network,
    containerId,
    ifName,
    data: {
      family: 4,
      generation,
      netns,
      identity: { dev: identity.dev, ino: identity.ino },
      ...(agent !== undefined && { agent }),
      ask: askToJson(entry.ask),
      lease: leaseToJson(entry.lease),
      replaces: entry.replaces.map((ack) => encode(ack).toHex()),
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

const dataDecoder: Decoder<Data> = object({
  family: required(four, "Family of the address."),
  generation: required(number, "Number of the acquisition."),
  netns: required(path, "Path of the namespace."),
  identity: required(
    object({ dev: required(number, "Device."), ino: required(number, "Inode.") }),
    "Which namespace it was.",
  ),
  agent: optional(text, "Socket of the agent that keeps it."),
  ask: required(askDecoder, "What is asked of servers."),
  lease: required(leaseDecoder, "The lease."),
  replaces: required(list(message), "DHCPACKs before."),
});

const entryDecoder = refine(
  object({
    network: required(text, "Network."),
    containerId: required(text, "Container."),
    ifName: required(stringThat("name of an interface", isIfName), "Interface."),
    data: required(dataDecoder, "The rest."),
  }),
  ({ data }, report) => {
    if (data.generation < 1) report("data.generation", "expected integer from 1");
  },
);

/** Throws an error that names every field which is wrong. */
function parseEntry(path: string, text: string): Entry {
  const issues: Issue[] = [];
  const decoded = entryDecoder.decode(JSON.parse(text), "", issues);
  if (!decoded || issues.length > 0) throw new Error(issues.map(formatIssue).join("; "));
  const { data: { family: _, ...data }, ...attachment } = decoded;
  return { path, ...attachment, ...data };
}
