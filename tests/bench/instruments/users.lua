-- wrk's side of growth: POST /event with a userId that was never sent before, as many requests at a
-- time as the argument says.
local head = "POST /event HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n" ..
   "Content-Length: "
local depth = 1
local number = 0

function init(args)
   depth = tonumber(args[1]) or 1
end

function request()
   local train = {}
   for i = 1, depth do
      local body = string.format('{"userId": "user_%d", "value": %d}', number, number % 1000)
      train[i] = head .. #body .. "\r\n\r\n" .. body
      number = number + 1
   end
   return table.concat(train)
end
