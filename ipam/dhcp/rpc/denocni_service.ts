/**
 * The service `Denocni` of the lease agent: what our plugin asks our agent beyond the service `DHCP`.
 * It has a name of its own, so that the reference's plugins see no difference, and the reference's
 * agents answer that they have no such service.
 *
 * @module
 */
import type { ContainerInterface } from "../../../cni/attachment_key.ts";
import type { Result } from "../../../cni/types.ts";
import type { CmdArgs } from "./cni_gob.ts";
import type { CallOptions } from "./dhcp_service.ts";
import type { GobStruct, GobValue, StructType } from "./gob_types.ts";
import type { ByteStream, RpcMethods } from "./net_rpc.ts";
import { argsType, readArgs, readResult, resultType, writeArgs, writeResult } from "./cni_gob.ts";
import { GobError, isGobStruct } from "./gob_types.ts";
import { callRpc, emptyStruct } from "./net_rpc.ts";

/** What our agent does for our plugin. The caller gets the message of an error that it throws. */
export interface DenocniService {
  /**
   * Gets the leases that the configuration wants, as `DHCP.Allocate` does. A plugin calls it by this
   * name where the reference's agent must not answer with less.
   */
  allocate(args: CmdArgs, signal: AbortSignal): Promise<Result>;
  /** Gives the lease of an attachment. Throws where there is none that may be used. */
  check(args: CmdArgs): Promise<Result>;
  /** Gives up every lease of a network that belongs to none of these attachments. */
  gc(network: string, valid: readonly ContainerInterface[]): Promise<void>;
  /** Lists every lease that is kept, as JSON can hold it. */
  list(): readonly object[];
}

const service = "Denocni";

const keyType: StructType = {
  kind: "struct",
  name: "Key",
  fields: [
    { name: "ContainerID", type: { kind: "string" } },
    { name: "IfName", type: { kind: "string" } },
  ],
};

const gcType: StructType = {
  kind: "struct",
  name: "GC",
  fields: [
    { name: "Network", type: { kind: "string" } },
    { name: "Valid", type: { kind: "slice", name: "[]Key", element: keyType } },
  ],
};

const listType: StructType = {
  kind: "struct",
  name: "List",
  fields: [{ name: "Leases", type: { kind: "string" } }],
};

/** The methods of an agent, for {@linkcode "./net_rpc.ts".serveRpc}. */
export function denocniMethods(agent: DenocniService): RpcMethods {
  return {
    [`${service}.Allocate`]: {
      reply: resultType,
      run: async (args, signal) => writeResult(await agent.allocate(readArgs(args), signal)),
    },
    [`${service}.Check`]: {
      reply: resultType,
      run: async (args) => writeResult(await agent.check(readArgs(args))),
    },
    [`${service}.GC`]: {
      reply: emptyStruct,
      run: async (value) => {
        const { network, valid } = readGc(value);
        await agent.gc(network, valid);
        return {};
      },
    },
    [`${service}.Ping`]: { reply: emptyStruct, run: () => Promise.resolve({}) },
    [`${service}.List`]: {
      reply: listType,
      run: () => Promise.resolve({ Leases: JSON.stringify(agent.list()) }),
    },
  };
}

/** Whether an agent has answered that it does not have this service. */
export function isUnknownService(error: Error): boolean {
  return error.message.startsWith(`rpc: can't find service ${service}.`);
}

/** Asks for the leases of an attachment, or new ones; for errors see {@linkcode callRpc}. */
export function callAllocateAll(
  stream: ByteStream,
  args: CmdArgs,
  options?: CallOptions,
): Promise<Result> {
  return callForResult("Allocate", { stream, args, ...options });
}

/** Asks for the leases of an attachment; for errors see {@linkcode callRpc}. */
export function callCheck(
  stream: ByteStream,
  args: CmdArgs,
  options?: CallOptions,
): Promise<Result> {
  return callForResult("Check", { stream, args, ...options });
}

async function callForResult(
  name: "Allocate" | "Check",
  { stream, args, signal }: CallOptions & {
    readonly stream: ByteStream;
    readonly args: CmdArgs;
  },
): Promise<Result> {
  const call = { method: `${service}.${name}`, type: argsType, args: writeArgs(args), signal };
  return readResult(await callRpc(stream, call));
}

/** Gives up what belongs to no valid attachment; for errors see {@linkcode callRpc}. */
export async function callGc(
  stream: ByteStream,
  { network, valid }: { readonly network: string; readonly valid: readonly ContainerInterface[] },
  { signal }: CallOptions = {},
): Promise<void> {
  const keys = valid.map(({ containerId, ifName }) => ({
    ContainerID: containerId,
    IfName: ifName,
  }));
  const args = { Network: network, Valid: keys };
  await callRpc(stream, { method: `${service}.GC`, type: gcType, args, signal });
}

/** Asks for an answer and nothing else; for errors see {@linkcode callRpc}. */
export async function callPing(stream: ByteStream, { signal }: CallOptions = {}): Promise<void> {
  await callRpc(stream, { method: `${service}.Ping`, type: emptyStruct, args: {}, signal });
}

/** Asks for every lease; for errors see {@linkcode callRpc}. */
export async function callList(
  stream: ByteStream,
  { signal }: CallOptions = {},
): Promise<Record<string, unknown>[]> {
  const call = { method: `${service}.List`, type: emptyStruct, args: {}, signal };
  const { Leases = "[]" } = structOf(await callRpc(stream, call));
  return JSON.parse(textOf(Leases));
}

function readGc(value: GobValue): { network: string; valid: ContainerInterface[] } {
  const { Network = "", Valid = [] } = structOf(value);
  if (!Array.isArray(Valid)) throw new GobError("Cannot read GC: Valid is no list");
  return {
    network: textOf(Network),
    valid: Valid.map((key) => {
      const { ContainerID = "", IfName = "" } = structOf(key);
      return { containerId: textOf(ContainerID), ifName: textOf(IfName) };
    }),
  };
}

function structOf(value: GobValue): GobStruct {
  if (isGobStruct(value)) return value;
  throw new GobError("Cannot read message: it is no struct");
}

function textOf(value: GobValue): string {
  if (typeof value === "string") return value;
  throw new GobError("Cannot read message: a field is no text");
}
