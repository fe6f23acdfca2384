/**
 * A client of the lease agent, ours or the reference's.
 *
 * @module
 */
import type { ContainerInterface } from "../../../cni/attachment_key.ts";
import type { Result } from "../../../cni/types.ts";
import type { CmdArgs } from "./cni_gob.ts";
import type { CallOptions } from "./dhcp_service.ts";
import type { ByteStream } from "./net_rpc.ts";
import { CniError, codes } from "../../../cni/error.ts";
import {
  callAllocateAll,
  callCheck,
  callGc,
  callPing,
  isUnknownService,
} from "./denocni_service.ts";
import { callAllocate, callRelease } from "./dhcp_service.ts";
import { unservedText } from "./dial_error.ts";
import { RemoteError } from "./net_rpc.ts";

/** The lease agent does not run: nobody serves its socket. */
export class AgentNotRunning extends CniError {
  override readonly name: string = "AgentNotRunning";
}

/** The agent at a socket. Calls throw a {@linkcode CniError}. */
export class AgentClient {
  /** `timeout`: milliseconds for one call. */
  constructor(readonly socket: string, readonly timeout: number) {}

  /** Gets the IPv4 lease of an attachment; any agent can. */
  allocate(args: CmdArgs, until: CallOptions = {}): Promise<Result> {
    const call = (stream: ByteStream, options: CallOptions) => callAllocate(stream, args, options);
    return this.#call("DHCP.Allocate", call, until);
  }

  /** Gets the leases of an attachment, an IPv6 lease among them. */
  async allocateAll(args: CmdArgs, until: CallOptions = {}): Promise<Result> {
    const result = await this.#call("Denocni.Allocate", async (stream, options) => {
      return await callAllocateAll(stream, args, options).catch(undefinedIfUnknown);
    }, until);
    if (result) return result;
    throw new CniError(
      codes.unsupportedField,
      `Cannot use "ipv6": "dhcp" with the lease agent at "${this.socket}": ` +
        "it gets IPv4 addresses alone",
      'the agent of this plugin, `dhcp daemon`, gets both; or set "ipv6" to "slaac" or "none"',
    );
  }

  /** Gives the lease of an attachment up. */
  release(args: CmdArgs): Promise<void> {
    return this.#call("DHCP.Release", (stream, options) => callRelease(stream, args, options));
  }

  /** Gives the leases of an attachment that the agent keeps; `undefined` when the agent cannot tell. */
  async check(args: CmdArgs): Promise<Result | undefined> {
    return await this.#call("Denocni.Check", async (stream, options) => {
      return await callCheck(stream, args, options).catch(undefinedIfUnknown);
    });
  }

  /** Gives up every lease of a network but those of valid attachments; does nothing if the agent cannot. */
  async gc(network: string, valid: readonly ContainerInterface[]): Promise<void> {
    await this.#call("Denocni.GC", async (stream, options) => {
      await callGc(stream, { network, valid }, options).catch(undefinedIfUnknown);
    });
  }

  /** Proves that the agent answers. */
  async greet(): Promise<void> {
    await this.#call("Denocni.Ping", async (stream, options) => {
      await callPing(stream, options).catch(undefinedIfUnknown);
    });
  }

  async #call<T>(
    method: string,
    call: (stream: ByteStream, options: CallOptions) => Promise<T>,
    until: CallOptions = {},
  ): Promise<T> {
    const stream = await dial(this.socket);
    const late = AbortSignal.timeout(this.timeout);
    const signal = AbortSignal.any([late, ...(until.signal ? [until.signal] : [])]);
    return await call(stream, { signal }).catch((error: Error) => {
      throw late.aborted ? this.#late(method) : failureOf(method, error);
    });
  }

  #late(method: string): CniError {
    return new CniError(
      codes.tryAgainLater,
      `error calling ${method}: no answer from "${this.socket}" within ${this.timeout} ms`,
      "the option `timeout` says how long to wait; it should be less than the runtime waits",
    );
  }
}

function undefinedIfUnknown(error: Error): undefined {
  if (!isUnknownService(error)) throw error;
}

/** Connects to the socket of an agent. Throws {@linkcode AgentNotRunning} when there is none. */
async function dial(path: string): Promise<Deno.UnixConn> {
  return await Deno.connect({ transport: "unix", path }).catch((error: Error) => {
    const words = unservedText(error);
    const message = `error dialing DHCP daemon: dial unix ${path}: connect: ${
      words ?? error.message
    }`;
    if (words === undefined) throw new CniError(codes.ioFailure, message);
    throw new AgentNotRunning(codes.tryAgainLater, message, howToStart);
  });
}

/** How to start an agent. */
const howToStart =
  "the DHCP lease agent, which gets and renews addresses for containers, does not run here: " +
  "start it with `systemctl enable --now cni-dhcp` or `dhcp daemon`, " +
  'or set "oneShot": true in "ipam" for containers that live shorter than their leases';

/** Makes the error of a failed call, with the reference's text; the counts of packets are in the details. */
function failureOf(method: string, error: Error): CniError {
  if (!(error instanceof RemoteError)) {
    return new CniError(codes.ioFailure, `error calling ${method}: ${error.message}`);
  }
  const [words, counts] = splitNoMoreTries(error.message);
  const code = /(^|: )no more tries$/.test(words) ? codes.tryAgainLater : codes.noAddress;
  return new CniError(code, `error calling ${method}: ${words}`, counts);
}

/** Splits `no more tries` from the counts of packets; the second part of other texts is empty. */
export function splitNoMoreTries(message: string): readonly [words: string, counts: string] {
  const counted = /^((?:IPv[46]: )?no more tries): (.*)$/s.exec(message);
  return counted ? [counted[1]!, counted[2]!] : [message, ""];
}
