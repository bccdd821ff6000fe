/** API keys of one run, and whom PostgREST takes a request for. */

/** The keys of one run: both of Supabase's kinds. */
export interface Keys {
  /** `sb_secret_…`, sent as `apikey` alone; acts as `service_role`. */
  service: string;
  /** `sb_publishable_…`, sent as `apikey` alone; acts as `anon`. */
  anon: string;
  /** `eyJ…`, sent as `apikey` and as Bearer; acts as `service_role`. */
  legacyService: string;
  /** `eyJ…`, sent as `apikey` and as Bearer; acts as `anon`. */
  legacyAnon: string;
}

/** A role of Postgres, or the answer that refuses the request. */
export type Identity = { role: string } | { refusal: Response };

/** Fresh keys, good for nothing but one run. */
export function generateKeys(): Keys {
  return {
    service: `sb_secret_${randomText(24)}`,
    anon: `sb_publishable_${randomText(24)}`,
    legacyService: legacyKey("service_role"),
    legacyAnon: legacyKey("anon"),
  };
}

/**
 * Who a request is: first Supabase's gateway, which knows keys by `apikey`,
 * then PostgREST, which takes the role from the JWT in Bearer. For an `sb_` key
 * the gateway makes that JWT, unless the caller brought an Authorization of its
 * own: that goes through as it is, and an `sb_` key is no JWT.
 */
export function identify(headers: Headers, keys: Keys): Identity {
  const apikey = headers.get("apikey");
  if (!apikey) {
    return refuse({
      message: "No API key found in request",
      hint: "No `apikey` request header or url param was found.",
    });
  }
  const role = roleOf(apikey, keys);
  if (!role) {
    return refuse({
      message: "Invalid API key",
      hint: "Double check your Supabase `anon` or `service_role` API key.",
    });
  }
  if (
    apikey === keys.service && headers.get("user-agent")?.startsWith("Mozilla/")
  ) {
    return refuse({
      message: "Forbidden use of secret API key in browser",
      hint: "Secret API keys can only be used in a protected environment.",
    });
  }
  const bearer = headers.get("authorization")?.match(/^Bearer\s+(.*)$/i)?.[1];
  // A legacy key in `apikey` opens the gateway and says nothing to PostgREST.
  if (bearer === undefined) {
    return { role: isLegacy(apikey, keys) ? "anon" : role };
  }
  const bearerRole = isLegacy(bearer, keys) ? roleOf(bearer, keys) : null;
  if (bearerRole) return { role: bearerRole };
  const parts = bearer.split(".").length;
  return refuse({
    code: "PGRST301",
    details: null,
    hint: null,
    message: parts === 3
      ? "No suitable key or wrong key type"
      : `Expected 3 parts in JWT; got ${parts}`,
  });
}

function roleOf(key: string, keys: Keys): string | null {
  if (key === keys.service || key === keys.legacyService) return "service_role";
  if (key === keys.anon || key === keys.legacyAnon) return "anon";
  return null;
}

function isLegacy(key: string, keys: Keys): boolean {
  return key === keys.legacyService || key === keys.legacyAnon;
}

function refuse(body: Record<string, unknown>): Identity {
  return { refusal: Response.json(body, { status: 401 }) };
}

/** Of a JWT's shape; keys are compared whole here, so the signature is only random. */
function legacyKey(role: string): string {
  const part = (value: unknown) => base64url(new TextEncoder().encode(JSON.stringify(value)));
  return [
    part({ alg: "HS256", typ: "JWT" }),
    part({
      iss: "supabase",
      ref: "local",
      role,
      iat: 1700000000,
      exp: 2000000000,
    }),
    randomText(32),
  ].join(".");
}

function randomText(bytes: number): string {
  return base64url(crypto.getRandomValues(new Uint8Array(bytes)));
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
