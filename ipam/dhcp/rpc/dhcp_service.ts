/**
 * The service `DHCP` of the lease agent: `DHCP.Allocate` and `DHCP.Release`, which the reference's
 * plugin calls and its daemon serves.
 *
 * @module
 */
import type { Result } from "../../../cni/types.ts";
import type { CmdArgs } from "./cni_gob.ts";
import type { ByteStream, RpcMethods } from "./net_rpc.ts";
import { argsType, readArgs, readResult, resultType, writeArgs, writeResult } from "./cni_gob.ts";
import { callRpc, emptyStruct } from "./net_rpc.ts";

/** What an agent does for any plugin. The caller gets the message of an error that it throws. */
export interface DhcpService {
  /** Gets the lease of an attachment; `signal` is aborted when the plugin has gone. */
  allocate(args: CmdArgs, signal: AbortSignal): Promise<Result>;
  /** Gives the lease of an attachment up; there may be none. */
  release(args: CmdArgs, signal: AbortSignal): Promise<void>;
}

/** How long to wait for an answer: as long as the agent works, without a signal. */
export interface CallOptions {
  /** Ends the wait; the call then throws its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** The methods of an agent, for {@linkcode "./net_rpc.ts".serveRpc}. */
export function dhcpMethods(agent: DhcpService): RpcMethods {
  return {
    "DHCP.Allocate": {
      reply: resultType,
      run: async (args, signal) => writeResult(await agent.allocate(readArgs(args), signal)),
    },
    "DHCP.Release": {
      reply: emptyStruct,
      run: (args, signal) => agent.release(readArgs(args), signal).then(() => ({})),
    },
  };
}

/** Asks the agent for a lease over a new connection; for errors see {@linkcode callRpc}. */
export async function callAllocate(
  stream: ByteStream,
  args: CmdArgs,
  { signal }: CallOptions = {},
): Promise<Result> {
  const call = { method: "DHCP.Allocate", type: argsType, args: writeArgs(args), signal };
  return readResult(await callRpc(stream, call));
}

/** Gives a lease up over a new connection; for errors see {@linkcode callRpc}. */
export async function callRelease(
  stream: ByteStream,
  args: CmdArgs,
  { signal }: CallOptions = {},
): Promise<void> {
  await callRpc(stream, { method: "DHCP.Release", type: argsType, args: writeArgs(args), signal });
}
