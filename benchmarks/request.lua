-- What load.py asks of wrk, told in the environment. The last line that it prints is JSON.
local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init()
   local body = os.getenv("BODY")
   requests, turn = {}, 0
   for path in io.lines(os.getenv("PATHS")) do
      table.insert(requests, wrk.format(os.getenv("METHOD"), path, nil, body ~= "" and body or nil))
   end
   wanted = tonumber(os.getenv("STATUS"))
   failed, example = 0, 0
end

function request()
   turn = turn % #requests + 1
   return requests[turn]
end

function response(status)
   if status ~= wanted then
      failed, example = failed + 1, status
   end
end

function done(summary, latency)
   local errors = summary.errors
   local failed, example = errors.connect + errors.read + errors.write + errors.timeout, 0
   for _, thread in ipairs(threads) do
      failed, example = failed + thread:get("failed"), thread:get("example")
   end
   print(string.format('{"answered": %d, "seconds": %f, "p99": %f, "failed": %d, "example": %d}',
      summary.requests, summary.duration / 1e6, latency:percentile(99) / 1e6, failed, example))
end
