-- Asks the gateway whether a request may pass: an access checker of mod_lua. A yes sets what the gateway says of the caller;
-- a no has the gateway's status and challenge. When the gateway cannot be asked, the answer is 503: nothing passes unasked.

local http = require "socket.http"

local VERDICTS = "http://127.0.0.1:8090/.gateway/verify"
http.TIMEOUT = 5

-- Of one hop, or written anew below. The rest of the head goes along: credentials, and what the answer's form depends on.
local LEFT_OUT = {
    ["connection"] = true, ["content-length"] = true, ["expect"] = true, ["host"] = true, ["keep-alive"] = true,
    ["proxy-connection"] = true, ["te"] = true, ["trailer"] = true, ["transfer-encoding"] = true, ["upgrade"] = true,
}
local IDENTITY = { "X-Gateway-Assertion", "X-Gateway-Subject", "X-Gateway-Level" }
local FOR_THE_CLIENT = { "Location", "X-Gateway-Login", "WWW-Authenticate", "Retry-After", "Allow", "X-Gateway-Error", "X-Request-Id", "Cache-Control" }

local LOGIN = {}
for _, page in ipairs({
    "login", "callback", "logout", "signed-out", "session", "backchannel-logout", "frontchannel-logout",
}) do LOGIN["/.gateway/" .. page] = true end

-- `_` reads as `-`: a CGI behind us could not tell the two apart.
local function folded(name)
    return (name:lower():gsub("_", "-"))
end

local function question(r)
    local ask = {}
    for name, value in pairs(r:headers_in_table()) do
        local plain = folded(name)
        local told = plain:find("^x%-original%-") or plain:find("^x%-forwarded%-") or plain:find("^x%-gateway%-")
        if not LEFT_OUT[plain] and not told then ask[name] = value end
    end
    ask["X-Original-Method"] = r.method
    ask["X-Original-Host"] = r.hostname
    ask["X-Original-URI"] = r.unparsed_uri
    ask["X-Forwarded-For"] = r.useragent_ip
    return ask
end

function verdict(r)
    -- What Apache asks itself on behalf of a request that was judged.
    if not r.is_initial_req then return apache2.DECLINED end
    -- The way to the SSO and back, which is the gateway's own. By its exact spelling, as <LocationMatch> in portal.conf.
    if LOGIN[r.unparsed_uri:gsub("%?.*", "")] then return apache2.DECLINED end
    local _, status, answer = http.request({ url = VERDICTS, headers = question(r), redirect = false })
    if type(status) ~= "number" or not answer["x-request-id"] then
        r.err_headers_out["Retry-After"] = "5"
        return 503
    end
    if status ~= 200 then
        for _, name in ipairs(FOR_THE_CLIENT) do
            local value = answer[name:lower()]
            if value then r.err_headers_out[name] = value end
        end
        return status
    end
    for name in pairs(r:headers_in_table()) do
        if folded(name):find("^x%-gateway%-") then r.headers_in[name] = nil end
    end
    for _, name in ipairs(IDENTITY) do
        local value = answer[name:lower()]
        if value then r.headers_in[name] = value end
    end
    r.headers_in["Authorization"] = nil
    -- Of the caller's cookies, those that are the portal's.
    local cookie = answer["cookie"]
    r.headers_in["Cookie"] = cookie ~= "" and cookie or nil
    -- What a session sets, for portal.conf to add; answers to people with a session are kept nowhere.
    for at = 1, 5 do r.subprocess_env["GATEWAY_COOKIE_" .. at] = answer["x-set-cookie-" .. at] end
    if answer["cache-control"] ~= "no-store" then r.subprocess_env["GATEWAY_KEPT"] = answer["cache-control"] end
    return apache2.DECLINED
end
