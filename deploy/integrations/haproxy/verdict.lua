-- Asks the gateway whether a request may pass: `http-request lua.verdict https://ADDRESS:PORT` in a frontend.
--
-- A yes sets what the gateway says of the caller in place of whatever the caller sent by those names; a no goes to the
-- client as the gateway wrote it. When the gateway cannot be asked, the answer is 503: nothing passes unasked.

local TIMEOUT_MS = 5000

-- Of one hop, or written anew below. The rest of the head goes along: credentials, and what the answer's form depends on.
local LEFT_OUT = {
    ["connection"] = true, ["content-length"] = true, ["expect"] = true, ["host"] = true, ["keep-alive"] = true,
    ["proxy-connection"] = true, ["te"] = true, ["trailer"] = true, ["transfer-encoding"] = true, ["upgrade"] = true,
}

-- `_` reads as `-`: a CGI behind us could not tell the two apart.
local function folded(name)
    return (name:lower():gsub("_", "-"))
end

local function begins(text, start)
    return text:sub(1, #start) == start
end

local function question(txn)
    local ask = {}
    for name, values in pairs(txn.http:req_get_headers()) do
        local plain = folded(name)
        local told = begins(plain, "x-original-") or begins(plain, "x-forwarded-") or begins(plain, "x-gateway-")
        if not LEFT_OUT[plain] and not told then
            local list = {}
            for at = 0, #values do list[#list + 1] = values[at] end
            ask[name] = list
        end
    end
    ask["host"] = { "gateway.internal" }
    ask["x-original-method"] = { txn.sf:method() }
    ask["x-original-host"] = { txn.sf:req_fhdr("host") }
    ask["x-original-uri"] = { txn.sf:pathq() }
    ask["x-forwarded-for"] = { txn.sf:src() }
    return ask
end

local function refuse(txn, status, headers, body)
    local reply = txn:reply({ status = status })
    for name, values in pairs(headers) do
        if name ~= "connection" and name ~= "content-length" and name ~= "transfer-encoding" then
            for _, value in pairs(values) do reply:add_header(name, value) end
        end
    end
    reply:set_body(body)
    txn:done(reply)
end

core.register_action("verdict", { "http-req" }, function(txn, gateway)
    local answer = core.httpclient():get({
        url = gateway .. "/.gateway/verify", headers = question(txn), timeout = TIMEOUT_MS,
    })
    -- Without a connection there is no `x-request-id`, which every answer of the gateway has.
    if not answer or not answer.headers or not answer.headers["x-request-id"] then
        return refuse(txn, 503, { ["retry-after"] = { "5" }, ["cache-control"] = { "no-store" } }, "")
    end
    if answer.status ~= 200 then
        return refuse(txn, answer.status, answer.headers, answer.body or "")
    end
    for name in pairs(txn.http:req_get_headers()) do
        if begins(folded(name), "x-gateway-") then txn.http:req_del_header(name) end
    end
    for _, name in ipairs({ "x-gateway-assertion", "x-gateway-subject", "x-gateway-level" }) do
        local values = answer.headers[name]
        if values then txn.http:req_set_header(name, values[0]) end
    end
    txn.http:req_del_header("authorization")
    -- Of the caller's cookies, those that are the portal's.
    txn.http:req_del_header("cookie")
    local cookie = answer.headers["cookie"] and answer.headers["cookie"][0]
    if cookie and cookie ~= "" then txn.http:req_set_header("cookie", cookie) end
    -- What a session sets goes with the portal's answer, which is then kept nowhere.
    for at = 1, 5 do
        local values = answer.headers["x-set-cookie-" .. at]
        if values then txn:set_var("txn.set_cookie_" .. at, values[0]) end
    end
    local kept = answer.headers["cache-control"]
    if kept and kept[0] ~= "no-store" then txn:set_var("txn.kept", kept[0]) end
end, 1)
