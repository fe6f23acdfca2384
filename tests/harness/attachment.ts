/**
 * One attachment of one row: the plugin, the list before it, a container and
 * what the last ADD gave.
 *
 * @module
 */
import type { ResidueId } from "./residue.ts";
import type { JsonObject, Verb } from "../../cni/types.ts";
import type { Chain } from "./chain.ts";
import { addChain, chainCall, delChain } from "./chain.ts";
import type { PluginCall } from "./plugin.ts";
import { succeed } from "./plugin.ts";
import type { Sandbox } from "./sandbox.ts";

type ListVerb = Exclude<Verb, "VERSION">;

/** The plugin of an attachment, with what it needs. */
export interface AttachmentRow {
  readonly type: string;
  /** Makes what each container must have before, unless it is there: a link of its own to stand on. */
  readonly furnish?: (sandbox: Sandbox, netns: string) => Promise<unknown>;
  /** Its own keys of the configuration. */
  readonly conf: (sandbox: Sandbox) => JsonObject;
  /** The plugins before it in the list. */
  readonly before?: (sandbox: Sandbox) => readonly JsonObject[];
  /** Values for the capabilities that the plugins declare. */
  readonly capabilityArgs?: JsonObject;
  /** What stays after the last DEL, by design. */
  readonly residue: readonly ResidueId[];
}

/** What an attachment is made of. */
export interface AttachmentOptions {
  /** `1.1.0` when absent. */
  readonly version?: string;
  /** `c1` when absent. */
  readonly containerId?: string;
  /** `eth0` when absent. */
  readonly ifname?: string;
  /** Name of the container's namespace; `a` when absent. */
  readonly container?: string;
  /** Name of the network; `net1` when absent. */
  readonly network?: string;
  /** More keys of the plugin's configuration. */
  readonly extra?: JsonObject;
}

/** One attachment of one row. Make it with {@linkcode Attachment.create}. */
export class Attachment {
  /** What the last ADD gave. */
  result: JsonObject | undefined;
  /** What the plugins before this one gave. */
  #before: JsonObject | undefined;

  private constructor(
    readonly sandbox: Sandbox,
    readonly row: AttachmentRow,
    readonly netns: string,
    readonly options: AttachmentOptions,
  ) {}

  /** Makes the container and runs ADD of the plugins before this one. */
  static async create(
    sandbox: Sandbox,
    row: AttachmentRow,
    options: AttachmentOptions = {},
  ): Promise<Attachment> {
    const netns = await sandbox.container(options.container);
    await row.furnish?.(sandbox, netns);
    const attachment = new Attachment(sandbox, row, netns, options);
    if (row.before) {
      attachment.#before = await addChain(sandbox, attachment.#chain("before"));
    }
    return attachment;
  }

  /** Name of the network. */
  get network(): string {
    return this.options.network ?? "net1";
  }

  /** Interface name inside the container. */
  get ifname(): string {
    return this.options.ifname ?? "eth0";
  }

  /** The call of a verb with the `prevResult` a runtime gives it. */
  call(verb: ListVerb, extra: Partial<PluginCall> = {}): PluginCall {
    const prevResult = verb === "ADD"
      ? this.#before
      : verb === "GC" || verb === "STATUS"
      ? undefined
      : this.result;
    const [plugin] = this.#chain("own").plugins;
    return {
      ...chainCall(this.#chain("own"), verb, { plugin: plugin!, prevResult }),
      ...(verb === "GC" && { containerId: "", ifname: "", netns: "" }),
      ...(verb === "STATUS" && { containerId: "", ifname: "", netns: "" }),
      ...extra,
    };
  }

  /** The call of GC with the attachments that are still valid. */
  gcCall(valid: unknown): PluginCall {
    const call = this.call("GC");
    const list = valid as JsonObject;
    return {
      ...call,
      config: {
        ...call.config as JsonObject,
        "cni.dev/valid-attachments": list,
        "cni.dev/attachments": list,
      },
    };
  }

  /** ADD; must succeed. */
  async add(): Promise<JsonObject> {
    return this.result = await succeed(this.sandbox, this.call("ADD"));
  }

  /** CHECK; must succeed. */
  async check(): Promise<void> {
    await succeed(this.sandbox, this.call("CHECK"));
  }

  /** DEL; must succeed. */
  async del(extra: Partial<PluginCall> = {}): Promise<void> {
    await succeed(this.sandbox, this.call("DEL", extra));
  }

  /** DEL of the plugins before this one. */
  async delBefore(): Promise<void> {
    if (!this.row.before) return;
    await delChain(this.sandbox, this.#chain("before"), this.result ?? this.#before);
  }

  #chain(part: "before" | "own"): Chain {
    const { version = "1.1.0", containerId = "c1", extra = {} } = this.options;
    return {
      name: this.network,
      cniVersion: version,
      netns: this.netns,
      containerId,
      ifname: this.ifname,
      capabilityArgs: this.row.capabilityArgs ?? {},
      plugins: part === "before"
        ? this.row.before!(this.sandbox)
        : [{ type: this.row.type, ...this.row.conf(this.sandbox), ...extra }],
    };
  }
}
