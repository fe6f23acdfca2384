/**
 * The record of what an ADD has found and done, for CHECK, DEL and GC.
 *
 * @module
 */
import type { Decoder } from "../../cni/decode.ts";
import type { AttachmentRecord } from "../../recipes/record.ts";
import type { RecordedNetns } from "../../recipes/recorded_netns.ts";
import type { InterfaceState } from "./state.ts";
import { boolean, cidr, integer, list, object, required, stringThat } from "../../cni/decode.ts";
import { isIfName } from "../../cni/names.ts";
import { commandWords, records } from "../../recipes/record.ts";
import { recordedNetnsFields } from "../../recipes/recorded_netns.ts";

/** An interface in a VRF, and what it had before. */
export interface VrfData extends RecordedNetns, InterfaceState {
  /** Name of the VRF. */
  readonly vrf: string;
  readonly table: number;
  /** Number of the interface, which tells it from another one of its name. */
  readonly index: number;
  /** The addresses of the result that it had, of both families, with prefix. */
  readonly held: readonly string[];
}

/** The record of an attachment. */
export type VrfRecord = AttachmentRecord<VrfData>;

const table = required(integer({ min: 0, max: 2 ** 32 - 1 }), "Number of the routing table.");

const address = object({
  words: required(commandWords, "As after `ip addr replace`."),
  nodad: required(boolean(), "Used without duplicate address detection."),
  tentative: required(boolean(), "Duplicates were being looked for, or one was found."),
});

const decoder: Decoder<VrfData> = object({
  ...recordedNetnsFields,
  addresses: required(list(address), "Its IPv6 addresses, the oldest first."),
  routes: required(
    list(object({ words: required(commandWords, "As after `ip route add`."), table })),
    "Its routes.",
  ),
  vrf: required(stringThat("name of a link", isIfName), "Name of the VRF."),
  table,
  index: required(integer({ min: 1 }), "Index of the interface."),
  held: required(list(cidr()), "Addresses of the result that it had."),
});

/** The records of all attachments. */
export const vrfRecords = records("vrf", decoder);
