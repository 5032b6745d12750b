-- wrk's side of the challenge: POST /event, as many at a time as the argument says. The texts are
-- made beforehand: what is measured is the server, as far as wrk can help it.
local texts = {}
local at = 0
local count = 1024

function init(args)
   local depth = tonumber(args[1]) or 1
   local number = 0
   for i = 1, count do
      local train = {}
      for j = 1, depth do
         local body = string.format('{"userId": "user_%d", "value": %d}', number % 75000,
                                    number % 1000)
         train[j] = wrk.format("POST", "/event", {["Content-Type"] = "application/json"}, body)
         number = number + 1
      end
      texts[i] = table.concat(train)
   end
end

function request()
   at = at % count + 1
   return texts[at]
end
