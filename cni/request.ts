/**
 * Calls a verb of a plugin in this process: decodes the configuration, gives the
 * plugin its request, its machine and its delegate. The executed form
 * (`serve.ts`), an in-process delegate and the runtime all come through here.
 *
 * @module
 */
import type { NetnsState } from "../ns/netns.ts";
import { currentNetns, inspectNetns, sameNetns } from "../ns/netns.ts";
import {
  decodeForRemoval,
  decodeOrThrow,
  expected,
  invalidConfig,
  isObject,
  lookup,
} from "./decode.ts";
import type { Call, CallContext, DelegatedVerb } from "./call.ts";
import { execDelegate, ipamTraits, ownPlugin } from "./delegate.ts";
import { CniError, codes } from "./error.ts";
import { checkNewIfName } from "./names.ts";
import type { Delegate, GcRequest, Plugin, Request } from "./plugin.ts";
import { parsePrevResult } from "./result.ts";
import type { ContainerInterface } from "./attachment_key.ts";
import type { JsonObject, Result, Verb } from "./types.ts";
import { emptyResult } from "./types.ts";

/** Calls ADD, DEL, CHECK, GC or STATUS. Only ADD gives a result. */
export async function callPlugin(
  plugin: Plugin,
  verb: Exclude<Verb, "VERSION">,
  call: Call,
  surroundings: CallContext,
): Promise<Result | undefined> {
  if (verb === "ADD") checkNewIfName(call.ifName);
  if (verb === "ADD" || verb === "DEL") refuseOwnNetns(call);
  const request = makeRequest(plugin, verb, call, surroundings);
  if (!isRemoval(verb)) await refuseIpam(plugin, request);
  switch (verb) {
    case "ADD":
      return await plugin.add(request);
    case "CHECK":
      return void await plugin.check(request);
    case "DEL":
      return void await plugin.del(request);
    case "STATUS":
      return void await plugin.status(request);
    case "GC":
      return void await plugin.gc(gcRequest(request));
  }
}

/** A configuration that no longer validates must not block a removal. */
function isRemoval(verb: Verb): boolean {
  return verb === "DEL" || verb === "GC";
}

/** Throws code 7 where a plugin cannot do with the IPAM plugin that its configuration names. */
async function refuseIpam(plugin: Plugin, { conf, ipam }: Request<unknown>): Promise<void> {
  if (!plugin.ipamIssues || !ipam.type) return;
  const issues = plugin.ipamIssues(conf, await ipam.traits());
  if (issues.length > 0) throw invalidConfig(configuration, issues);
}

/** Name of the configuration of a request in messages. */
const configuration = "network configuration";

/** Puts back what is missing of an attachment; gives a line for each thing. */
export async function repairWith(
  plugin: Plugin,
  call: Call,
  surroundings: CallContext,
): Promise<string[]> {
  if (!plugin.repair) return [];
  return await plugin.repair(makeRequest(plugin, "CHECK", call, surroundings));
}

/** State of the path in `CNI_NETNS`, read once a call: a delegate gets the same call. */
const sandboxes = new WeakMap<Call, NetnsState>();

function sandboxOf(call: Call): NetnsState {
  let state = sandboxes.get(call);
  if (!state) sandboxes.set(call, state = inspectNetns(call.netns));
  return state;
}

/** The plugin's own namespace is never a container's. Checked before anything is done. */
function refuseOwnNetns(call: Call): void {
  if (call.netnsOverride || !call.netns) return;
  const state = sandboxOf(call);
  if (state.is !== "namespace" || !sameNetns(state.identity, currentNetns())) return;
  throw new CniError(
    codes.invalidNetns,
    "plugin's netns and netns from CNI_NETNS should not be the same",
    `CNI_NETNS is ${call.netns}`,
  );
}

function makeRequest(
  plugin: Plugin,
  verb: Exclude<Verb, "VERSION">,
  call: Call,
  surroundings: CallContext,
): Request<unknown> {
  const removal = isRemoval(verb);
  const decode = removal ? decodeForRemoval : decodeOrThrow;
  return {
    conf: decode(plugin.conf, call.config, configuration),
    raw: call.config,
    text: call.text,
    network: String(lookup(call.config, "name")),
    cniVersion: call.cniVersion,
    containerId: call.containerId,
    netns: call.netns,
    get sandbox() {
      return sandboxOf(call);
    },
    ifName: call.ifName,
    args: call.args,
    get prevResult() {
      return prevResult(call, removal);
    },
    host: surroundings.host,
    ipam: createDelegate(ipamType(call.config), { call, surroundings }),
    delegate(type, config) {
      return createDelegate(type, { call: delegateCall(call, config), surroundings });
    },
  };
}

/** A removal goes on without a `prevResult` it cannot read. */
function prevResult(call: Call, removal: boolean): Result | undefined {
  try {
    return parsePrevResult(call.config, call.cniVersion);
  } catch (error) {
    if (removal) return undefined;
    throw error;
  }
}

/** The same call with another configuration. */
function delegateCall(call: Call, config: JsonObject): Call {
  const { text: _, ...rest } = call;
  return { ...rest, config };
}

/** A delegate of a call. Nothing is looked up before a verb is called. */
function createDelegate(
  type: string,
  { call, surroundings }: { call: Call; surroundings: CallContext },
): Delegate {
  const run = async (verb: DelegatedVerb) => {
    const own = await ownPlugin(type, call.path, surroundings);
    if (own) return await callPlugin(own, verb, call, surroundings);
    return await execDelegate(type, { verb, call, host: surroundings.host });
  };
  return {
    type,
    traits: () => ipamTraits(type, surroundings),
    add: async () => await run("ADD") ?? emptyResult(),
    del: async () => void await run("DEL"),
    check: async () => void await run("CHECK"),
    gc: async () => void await run("GC"),
    status: async () => void await run("STATUS"),
  };
}

function ipamType(config: JsonObject): string {
  const ipam = lookup(config, "ipam");
  const type = isObject(ipam) ? lookup(ipam, "type") : undefined;
  return typeof type === "string" ? type : "";
}

/** The name of the list, and the one that the first text of 1.1.0 gave it; libcni sends both. */
const validKeys = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/**
 * An attachment of either list is valid. Without a list a GC is refused: it
 * would mean that every attachment goes. `null` is how the Go library writes an
 * empty list.
 */
function gcRequest<C>(request: Request<C>): GcRequest<C> {
  const keys = validKeys.filter((key) => lookup(request.raw, key) !== undefined);
  if (keys.length === 0) {
    throw new CniError(
      codes.invalidNetworkConfig,
      'Cannot collect garbage: "cni.dev/valid-attachments" is absent, and an absent list does not mean an empty one',
    );
  }
  const listed = keys.flatMap((key) => interfacesIn(key, lookup(request.raw, key)));
  const valid = listed.map((it) => ({ network: request.network, ...it }));
  return Object.assign(Object.create(request), { valid }) as GcRequest<C>;
}

function interfacesIn(key: string, value: unknown): ContainerInterface[] {
  const listed = value ?? [];
  if (!Array.isArray(listed)) throw notAList(key, listed);
  return listed.map((entry) => interfaceOf(key, entry));
}

function interfaceOf(list: string, entry: unknown): ContainerInterface {
  const containerId = isObject(entry) && lookup(entry, "containerID");
  const ifName = isObject(entry) && lookup(entry, "ifname");
  if (typeof containerId !== "string" || typeof ifName !== "string") {
    throw notAList(list, entry);
  }
  return { containerId, ifName };
}

function notAList(key: string, value: unknown): CniError {
  return new CniError(
    codes.invalidNetworkConfig,
    `Cannot use "${key}": ${expected("list of {containerID, ifname}", value)}`,
  );
}
