/** The versions that the gateway can be, and in what they differ. */

/** Every version that can be simulated. Only 2.3.6 is held to recorded exchanges. */
export const VERSIONS = ["1.8.2", "2.0.10", "2.1.1", "2.2.3", "2.3.6", "2.4.0-rc2"] as const;

/** One of {@link VERSIONS}. */
export type Version = typeof VERSIONS[number];

/** The codes after which some version deletes the session: only a human with a QR comes back (E). */
export const FINAL_CODES = [401, 402, 403, 406, 408] as const;

/** One of {@link FINAL_CODES}. */
export type FinalCode = typeof FINAL_CODES[number];

/** Whether it is of the first generation, which has other shapes, other verbs, and no rows. */
export function isV1(version: Version): boolean {
  return version.startsWith("1.");
}

/** The codes after which this version gives up; after all others it redials. */
export function finalCodes(version: Version): readonly FinalCode[] {
  if (isV1(version)) return [401];
  return version.startsWith("2.4.") ? FINAL_CODES : [401, 402, 403, 406];
}
