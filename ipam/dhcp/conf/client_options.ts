/**
 * The options that the configuration requests from DHCPv4 servers and provides to them.
 *
 * @module
 */
import type { Options4 } from "../codec/message4.ts";
import { CniError, codes } from "../../../cni/error.ts";
import { concat } from "../codec/bytes.ts";
import { textFormat } from "../codec/option_format.ts";
import { option4 } from "../codec/options4.ts";

/** Names of options in the configuration; the reference's. */
const named: Readonly<Record<string, number>> = {
  "dhcp-client-identifier": option4.clientId.code,
  "subnet-mask": option4.subnetMask.code,
  "routers": option4.routers.code,
  "host-name": option4.hostName.code,
  "user-class": option4.userClass.code,
  "vendor-class-identifier": option4.vendorClass.code,
};

/** Reads the code of an option from its name or a decimal number 0–255. Throws a `CniError` of code 7. */
export function parseOptionCode(text: string): number {
  const code = Object.hasOwn(named, text) ? named[text]! : /^\d+$/.test(text) ? Number(text) : 256;
  if (code <= 255) return code;
  const known = Object.keys(named).join(", ");
  throw invalid(`Can not parse option "${text}": expected a number 0–255 or one of ${known}`);
}

/** An entry of `ipam.request`. */
export interface RequestEntry {
  readonly skipDefault?: boolean | undefined;
  /** Name or number; an empty one is ignored. */
  readonly option?: string | undefined;
}

/** Options that are requested besides, and those requested when the configuration leaves none. */
const always: readonly string[] = ["routers", "subnet-mask"];
const otherwise: readonly number[] = [1, 3, 15, 6];

/**
 * Makes the codes of option 55 from `ipam.request`, exactly as the reference sends them: a name and
 * its number count as two, so `["3"]` gives 3, 3, 1. Throws a `CniError` of code 7.
 */
export function parameterRequestList(request: readonly RequestEntry[]): number[] {
  const listed = request.map(({ option }) => option ?? "").filter((text) => text !== "");
  const skip = request.some(({ skipDefault }) => skipDefault);
  const list = new Map<string, number>();
  for (const text of [...listed, ...(skip ? [] : always)]) {
    const code = parseOptionCode(text);
    list.set(Object.hasOwn(named, text) ? text : String(code), code);
  }
  return list.size > 0 ? [...list.values()] : [...otherwise];
}

/** An entry of `ipam.provide`. */
export interface ProvideEntry {
  /** Name or number. */
  readonly option: string;
  /** Sent as its bytes; nothing when empty. */
  readonly value?: string | undefined;
  /** Key of `CNI_ARGS` whose value is sent in place of `value`, even an empty one. */
  readonly fromArg?: string | undefined;
}

/** Codes that are no option, or that the exchange sets itself. */
const own: readonly number[] = [0, 50, 52, 53, 54, 55, 255];

/**
 * Makes the options to send from `ipam.provide`; the last of equal codes wins. Throws a `CniError`
 * of code 7 for an option that has no code, for one that the protocol sets itself (0, 50, 52–55,
 * 255), and for a value of more than 255 bytes.
 */
export function providedOptions(provide: readonly ProvideEntry[], args: string): Options4 {
  const given = lenientArgs(args);
  const options = new Map<number, Uint8Array>();
  for (const entry of provide) {
    const code = parseOptionCode(entry.option);
    if (own.includes(code)) {
      throw invalid(`Cannot provide option "${entry.option}": the protocol sets it`);
    }
    const { value = "", fromArg = "" } = entry;
    if (value !== "") options.set(code, bytesOf(value, entry.option));
    const argument = fromArg === "" ? undefined : given.get(fromArg);
    if (argument === undefined) continue;
    options.set(code, bytesOf(argument, `${entry.option}" from CNI_ARGS "${fromArg}`));
  }
  return options;
}

function bytesOf(value: string, what: string): Uint8Array {
  const bytes = textFormat.write(value);
  if (bytes.length <= 255) return bytes;
  throw invalid(`value too long for option "${what}": ${JSON.stringify(value)}`);
}

/** Reads `KEY=VALUE` pairs between semicolons. A value may hold `=`; other pieces are ignored. */
function lenientArgs(args: string): Map<string, string> {
  const pairs = args.split(";").filter((piece) => piece.includes("="));
  return new Map(pairs.map((piece) => {
    const at = piece.indexOf("=");
    return [piece.slice(0, at), piece.slice(at + 1)];
  }));
}

/** Longest text of a client identifier in bytes, behind the byte that says its kind. */
const longestId = 254;

/**
 * Makes the value of option 61 from the reference's text of an attachment,
 * `<container>/<network>/<interface>`: the text, cut to 254 bytes, behind a zero.
 */
export function clientIdentifier(id: string): Uint8Array {
  return concat([Uint8Array.of(0), textFormat.write(id).subarray(0, longestId)]);
}

function invalid(message: string): CniError {
  return new CniError(codes.invalidNetworkConfig, message);
}
