//! The stable codes of faults and warnings, one name each. `docs/faults.md` has a section for every one; a test holds the
//! two lists together. A code is never given a second meaning; a retired one stays retired.

macro_rules! codes {
    ($($name:ident = $code:literal;)*) => {
        $(pub const $name: &str = $code;)*
        /// Every code there is.
        pub const ALL: &[&str] = &[$($code,)*];
    };
}

codes! {
    // The file and its shape.
    UNREADABLE = "E0001";
    SYNTAX = "E0002";
    TOO_MUCH = "E0003";
    DUPLICATE_KEY = "E0004";
    UNKNOWN_KEY = "E0005";
    WRONG_TYPE = "E0006";
    MISSING_KEY = "E0007";
    BAD_DURATION = "E0008";
    BAD_SIZE = "E0009";
    OUT_OF_BOUNDS = "E0010";
    UNKNOWN_WORD = "E0011";
    EMPTY = "E0012";
    UNKNOWN_VERSION = "E0013";
    NOT_IN_INCLUDED = "E0014";
    BAD_INCLUDE = "E0015";
    TWO_DEFAULTS = "E0016";
    MISPLACED_REFERENCE = "E0017";
    NO_SECRET = "E0018";
    // Names and what they point at.
    NAME_TWICE = "E0101";
    BAD_NAME = "E0102";
    UNKNOWN_AGENCY = "E0103";
    UNKNOWN_ISSUER = "E0104";
    UNKNOWN_LISTENER = "E0105";
    // Listeners and certificates.
    BAD_ADDRESS = "E0201";
    ADDRESS_TWICE = "E0202";
    BAD_CIDR = "E0203";
    FILE_UNREADABLE = "E0204";
    BAD_PEM = "E0205";
    KEY_MISMATCH = "E0206";
    NOT_IN_FORCE = "E0207";
    NO_SAN = "E0208";
    NO_CLIENT_CA = "E0209";
    TLS_KEY_OUTSIDE = "E0210";
    // Issuers.
    ISSUER_TWICE = "E0301";
    BAD_URL = "E0302";
    INSECURE_URL = "E0303";
    BAD_ALGORITHM = "E0304";
    BAD_JWKS = "E0305";
    TWO_KEY_SOURCES = "E0306";
    BAD_CLAIM_VALUE = "E0307";
    CLIENT_PROOF = "E0308";
    CLIENT_ENDPOINTS = "E0309";
    // Agencies.
    BAD_ENDPOINT = "E0401";
    PROVINCE = "E0402";
    HALF_IDENTITY = "E0403";
    BAD_HOST_NAME = "E0404";
    VERIFY_BY_ANYBODY = "E0405";
    // Routes.
    BAD_PATH = "E0501";
    PARAMETER_TWICE = "E0502";
    BAD_HOST = "E0503";
    BAD_METHOD = "E0504";
    TIE = "E0505";
    UNREACHABLE = "E0506";
    LEVEL_OUT_OF_REACH = "E0507";
    OPEN_BUT_RESTRICTED = "E0508";
    NO_ISSUER = "E0509";
    BAD_STRIP = "E0510";
    RESERVED_PATH = "E0511";
    PATH_OR_PREFIX = "E0512";
    CORS_WILDCARD = "E0513";
    BAD_ORIGIN = "E0514";
    BAD_HEADER_NAME = "E0515";
    BAD_SCOPE = "E0516";
    NO_CLIENT = "E0517";
    SESSION_WITHOUT_HOST = "E0518";
    SESSION_IN_THE_CLEAR = "E0519";
    SESSION_BY_VERDICT = "E0520";
    // Good on paper, but it cannot be put in force.
    CANNOT_START = "E0601";
    // Sessions.
    BAD_SESSION_KEY = "E0801";
    // Expectations.
    EXPECTATION_BROKEN = "E0701";
    BAD_REQUEST = "E0702";
    UNKNOWN_ROUTE = "E0703";
    // Legal, but suspicious.
    EXPIRES_SOON = "W0001";
    UNUSED_AGENCY = "W0002";
    NO_HEALTH = "W0003";
    PLAIN_ENDPOINT = "W0004";
    OPEN_BELOW_STRONG = "W0005";
    HOST_WITHOUT_CERTIFICATE = "W0006";
    CLIENT_CA_UNUSED = "W0007";
    TLS_UNUSED = "W0008";
    NOTHING_INCLUDED = "W0009";
    KEY_READABLE_BY_ALL = "W0010";
    NEEDS_RESTART = "W0011";
    ZONE_UNKNOWN = "W0012";
    MAX_LOAD_UNUSED = "W0013";
    PROXY_WITHOUT_TRUST = "W0014";
    MIX_UP = "W0015";
}
