/**
 * The plugin's side of a lease agent, ours or the reference's.
 *
 * @module
 */
import type { AttachmentKey, Result } from "../../cni/types.ts";
import type { AllocateArgs, CallOptions } from "./lease_rpc.ts";
import type { ByteStream } from "./rpc.ts";
import { CniError, codes } from "../../cni/error.ts";
import { nobodyWords } from "./door.ts";
import { callAllocate, callRelease } from "./lease_rpc.ts";
import { callCheck, callGc, callList, isForeign } from "./own_rpc.ts";
import { RemoteError } from "./rpc.ts";

/** Nobody answers at the socket. */
export class NotRunning extends CniError {
  override readonly name: string = "NotRunning";
}

/** An agent at a socket. Calls throw a {@linkcode CniError}. */
export class AgentClient {
  /** `timeout`: milliseconds for one call. */
  constructor(readonly socket: string, readonly timeout: number) {}

  /** Gets the lease of an attachment. */
  allocate(args: AllocateArgs): Promise<Result> {
    return this.#call("DHCP.Allocate", (stream, options) => callAllocate(stream, args, options));
  }

  /** Gives the lease of an attachment up. */
  release(args: AllocateArgs): Promise<void> {
    return this.#call("DHCP.Release", (stream, options) => callRelease(stream, args, options));
  }

  /** The lease of an attachment as it is kept; `undefined` when the agent cannot tell. */
  async check(args: AllocateArgs): Promise<Result | undefined> {
    return await this.#call("Denocni.Check", async (stream, options) => {
      return await callCheck(stream, args, options).catch(undefinedIfForeign);
    });
  }

  /** Gives up every lease of a network but these; nothing where the agent cannot do it. */
  async gc(network: string, valid: readonly AttachmentKey[]): Promise<void> {
    await this.#call("Denocni.GC", async (stream, options) => {
      await callGc(stream, { network, valid }, options).catch(undefinedIfForeign);
    });
  }

  /** Proves that the agent answers. */
  async greet(): Promise<void> {
    await this.#call("Denocni.List", async (stream, options) => {
      await callList(stream, options).catch(undefinedIfForeign);
    });
  }

  async #call<T>(
    method: string,
    call: (stream: ByteStream, options: CallOptions) => Promise<T>,
  ): Promise<T> {
    const stream = await dial(this.socket);
    const signal = AbortSignal.timeout(this.timeout);
    return await call(stream, { signal }).catch((error: Error) => {
      throw signal.aborted ? this.#late(method) : failureOf(method, error);
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

function undefinedIfForeign(error: Error): undefined {
  if (!isForeign(error)) throw error;
}

/** Connects to the socket of an agent. Throws {@linkcode NotRunning} when there is none. */
async function dial(path: string): Promise<Deno.UnixConn> {
  return await Deno.connect({ transport: "unix", path }).catch((error: Error) => {
    const words = nobodyWords(error);
    const message = `error dialing DHCP daemon: dial unix ${path}: connect: ${
      words ?? error.message
    }`;
    if (words === undefined) throw new CniError(codes.ioFailure, message);
    throw new NotRunning(codes.tryAgainLater, message, howToStart);
  });
}

/** What to do where no agent runs. */
export const howToStart =
  "the DHCP lease agent, which gets and renews addresses for containers, does not run here: " +
  "start it with `systemctl enable --now cni-dhcp` or `dhcp daemon`, " +
  'or set "oneShot": true in "ipam" for containers that live shorter than their leases';

const noTries = "no more tries";

/** What the agent said, in the reference's words; what was sent and received stands in the details. */
function failureOf(method: string, error: Error): CniError {
  if (!(error instanceof RemoteError)) {
    return new CniError(codes.ioFailure, `error calling ${method}: ${error.message}`);
  }
  const counted = error.message.startsWith(`${noTries}: `);
  const words = counted ? noTries : error.message;
  const details = counted ? error.message.slice(`${noTries}: `.length) : "";
  const code = words === noTries ? codes.tryAgainLater : codes.noAddress;
  return new CniError(code, `error calling ${method}: ${words}`, details);
}
