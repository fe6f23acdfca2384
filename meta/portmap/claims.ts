/**
 * Who holds which host port, as files below `/run`: two containers must not get
 * one port, and iptables would take both without an error. A claim whose container
 * is gone is void.
 *
 * @module
 */
import type { AttachmentKey } from "../../cni/attachment_key.ts";
import { isSameAttachment, staleOn } from "../../cni/attachment_key.ts";
import { CniError, codes } from "../../cni/error.ts";
import { listNames, readFileIfExists } from "../../host/files.ts";
import type { Family } from "../../host/ip.ts";
import { lockFile } from "../../host/lock.ts";
import type { Step } from "../../host/step.ts";
import type { Host } from "../../ns/machine.ts";
import type { NetnsIdentity } from "../../ns/netns.ts";
import { inspectNetns, sameNetns } from "../../ns/netns.ts";
import { requireLock } from "../../recipes/lock.ts";
import { applyAssuming } from "../../recipes/netfilter.ts";
import { attachmentHash, sha512 } from "../../recipes/names.ts";
import type { Conf, Mapping } from "./conf.ts";
import { conditionsOf, hostKey, protocols } from "./conf.ts";

const stateDir = "/run/cni/denocni";

/** Folders of claims. Ranges have their own, because every ADD reads all of them. */
export const claimDirs = {
  ports: `${stateDir}/ports`,
  ranges: `${stateDir}/port-ranges`,
} as const;

const lockName = "portmap.lock";

/** Milliseconds for which a container may hold a claim without rules. */
const grace = 30_000;

/** Milliseconds to wait for the lock. */
const deadline = 15_000;

/**
 * Runs a task while no other portmap lists rules and changes them. A change that
 * needs no listing does not wait. Where no lock exists yet no ADD of ours can be
 * under way. Throws code 11 when the wait is over.
 */
export async function withPortmapLock<T>(host: Host, task: () => Promise<T>): Promise<T> {
  if (host.dryRun || !listNames(stateDir).includes(lockName)) return await task();
  const path = `${stateDir}/${lockName}`;
  using _file = requireLock(await lockFile(path, { mode: 0o600, deadline }), { path, deadline });
  return await task();
}

/** A host port, or a range of them, that is for one container alone. */
export interface Claim {
  readonly path: string;
  /** `8080/tcp`, for messages. */
  readonly what: string;
}

/** The attachment that a claim is for. */
export interface ClaimHolder extends AttachmentKey {
  /** `CNI_NETNS` of its ADD. */
  readonly netns: string;
  /** The namespace at that path then. */
  readonly identity: NetnsIdentity | undefined;
}

/** What the plugin knows of other attachments, and does to them. */
export interface OtherAttachments {
  /** Whether it has rules in any back end. */
  isMapped(holder: AttachmentKey): Promise<boolean>;
  /** Removes its rules. */
  evict(holder: AttachmentKey): Promise<void>;
}

/**
 * The claims of mappings in some families. Conditions divide a port: containers
 * with different ones can share it.
 */
export async function claimsOf(
  conf: Conf,
  families: readonly Family[],
): Promise<Claim[]> {
  const claims: Claim[] = [];
  for (const family of families) {
    const words = conditionsOf(conf, family);
    const suffix = words.length > 0 ? `-${(await sha512(words.join("\0"))).slice(0, 8)}` : "";
    for (const mapping of conf.runtimeConfig.portMappings) {
      const host = hostKey(mapping, family);
      if (host !== undefined) claims.push(claimOf(mapping, { family, place: host + suffix }));
    }
  }
  return claims;
}

function claimOf(
  { protocol, host }: Mapping,
  { family, place }: { readonly family: Family; readonly place: string },
): Claim {
  const dir = host.first === host.last ? claimDirs.ports : claimDirs.ranges;
  const span = host.first === host.last ? `${host.first}` : `${host.first}-${host.last}`;
  return {
    path: `${dir}/${family}-${protocol}-${host.first}-${host.last}-${place}`,
    what: `${span}/${protocol}`,
  };
}

/**
 * Takes ports for an attachment. Throws code 109 for a port that another container
 * holds, with its names. Removes what a dead container has left.
 */
export async function takeClaims(
  host: Host,
  holder: ClaimHolder,
  { claims, others }: { readonly claims: readonly Claim[]; readonly others: OtherAttachments },
): Promise<void> {
  const text = holderText(holder);
  const temporary = await temporaryOf(holder);
  const free = claims.filter(({ path }) => readHolder(path)?.containerId !== holder.containerId);
  await applyAssuming(host, {
    assumed: planClaims(free, { text, temporary }),
    otherwise: async () => {
      for (const { path, what } of free) await clear(host, holder, { path, what, others });
      const missing = free.filter(({ path }) => !isHostEndOf(path, text));
      return await host.apply(planClaims(missing, { text, temporary }));
    },
  });
  for (const { path, what } of claims) {
    for (const other of overlapping(path)) {
      await clear(host, holder, { path: other, what, others });
    }
  }
}

/** The file that an ADD leaves when it is killed. The next ADD writes over it, and DEL removes it. */
async function temporaryOf(holder: AttachmentKey): Promise<string> {
  return `${claimDirs.ports}/.tmp-${await attachmentHash(holder)}`;
}

/** Makes files where none exist; a rollback removes them. */
function planClaims(
  claims: readonly Claim[],
  { text, temporary }: { readonly text: string; readonly temporary: string },
): Step[] {
  if (claims.length === 0) return [];
  return [
    ...prepare(temporary),
    ...claims.map(({ path, what }) => ({
      why: `claim host port ${what}`,
      do: { kind: "write" as const, path, text, exclusive: true, temporary },
      undo: { kind: "remove" as const, path, onlyIfText: text },
    })),
  ];
}

/** Makes the folders and the lock, which stay. */
function prepare(temporary: string): Step[] {
  const present = listNames(stateDir);
  const missing = Object.values(claimDirs)
    .filter((path) => !present.includes(path.slice(stateDir.length + 1)));
  const dirs = missing.map((path): Step => ({
    why: `make directory "${path}"`,
    do: { kind: "mkdir", path },
  }));
  if (present.includes(lockName)) return dirs;
  const path = `${stateDir}/${lockName}`;
  return [...dirs, {
    why: `make "${path}"`,
    do: { kind: "write", path, text: "", exclusive: true, temporary },
    tolerate: ["exists"],
  }];
}

function isHostEndOf(path: string, text: string): boolean {
  return readFileIfExists(path) === text;
}

/** Removes a claim of a dead container. Throws code 109 for one of a living container. */
async function clear(
  host: Host,
  self: AttachmentKey,
  { path, what, others }: Claim & { readonly others: OtherAttachments },
): Promise<void> {
  const text = readFileIfExists(path);
  if (text === undefined) return;
  const holder = parseHolder(text);
  if (holder?.containerId === self.containerId) return;
  if (holder && await isAlive(holder, { path, others })) throw portConflict(what, holder);
  if (holder) await others.evict(holder);
  await host.apply([{
    why: `drop a void claim of host port ${what}`,
    do: { kind: "remove", path, onlyIfText: text },
  }]);
}

/**
 * Whether a holder still has its port. A container without its namespace is gone.
 * One with it may have lost its rules to another plugin's DEL, or may yet get them.
 */
async function isAlive(
  holder: ClaimHolder,
  { path, others }: { readonly path: string; readonly others: OtherAttachments },
): Promise<boolean> {
  if (!hasNetns(holder)) return false;
  const written = Deno.statSync(path).mtime?.getTime() ?? 0;
  return Date.now() - written < grace || await others.isMapped(holder);
}

function hasNetns({ netns, identity }: ClaimHolder): boolean {
  if (!identity) return true;
  const state = inspectNetns(netns);
  return state.is === "namespace" && sameNetns(state.identity, identity);
}

/** The error for a port that another container has. */
export function portConflict(
  what: string,
  { network, containerId, ifName }: AttachmentKey,
): CniError {
  return new CniError(
    codes.portConflict,
    `Cannot map host port ${what}: held by container "${containerId}" (network "${network}", interface "${ifName}")`,
  );
}

/** Paths of other claims that have ports in common with this one. */
function overlapping(path: string): string[] {
  const name = parseName(path)!;
  const dirs = name.first === name.last ? [claimDirs.ranges] : Object.values(claimDirs);
  return dirs.flatMap((dir) => listNames(dir).map((file) => `${dir}/${file}`)).filter((other) => {
    const claim = parseName(other);
    return other !== path && claim && claim.key === name.key &&
      claim.first <= name.last && name.first <= claim.last;
  });
}

const namePattern = new RegExp(`/([46]-(?:${protocols.join("|")}))-(\\d+)-(\\d+)-(.+)$`);

function parseName(path: string) {
  const [, start, first, last, place] = namePattern.exec(path) ?? [];
  if (start === undefined) return undefined;
  return { key: `${start} ${place}`, first: Number(first), last: Number(last) };
}

/** Text of a claim's file: a line for each name, for device and inode of the namespace, and for its path. */
export function holderText({ network, containerId, ifName, netns, identity }: ClaimHolder): string {
  const { dev, ino } = identity ?? { dev: 0, ino: 0 };
  return `${[network, containerId, ifName, dev, ino, netns].join("\n")}\n`;
}

function parseHolder(text: string): ClaimHolder | undefined {
  const [network, containerId, ifName, dev, ino, netns] = text.split("\n");
  if (!network || !containerId || !ifName || netns === undefined) return undefined;
  const identity = Number(ino) > 0 ? { dev: Number(dev), ino: Number(ino) } : undefined;
  return { network, containerId, ifName, netns, identity };
}

function readHolder(path: string): ClaimHolder | undefined {
  return parseHolder(readFileIfExists(path) ?? "");
}

/** Steps that give up an attachment's claims. */
export async function releaseClaims(
  claims: readonly Claim[],
  self: AttachmentKey,
): Promise<Step[]> {
  return [
    ...claims.flatMap(({ path }) => release(path, (holder) => isSameAttachment(holder, self))),
    {
      why: "remove what is left of a claim",
      do: { kind: "remove", path: await temporaryOf(self) },
    },
  ];
}

/** Steps that give up a network's claims that belong to none of the valid attachments. */
export function releaseStaleClaims(network: string, valid: readonly AttachmentKey[]): Step[] {
  const isStale = staleOn(network, valid);
  return Object.values(claimDirs).flatMap((dir) =>
    listNames(dir).flatMap((name) => release(`${dir}/${name}`, isStale))
  );
}

function release(path: string, test: (holder: ClaimHolder) => boolean): Step[] {
  const text = readFileIfExists(path);
  const holder = text === undefined ? undefined : parseHolder(text);
  if (text === undefined || !holder || !test(holder)) return [];
  return [{
    why: "give up a claim of a host port",
    do: { kind: "remove", path, onlyIfText: text },
  }];
}
