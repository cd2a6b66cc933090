# Reads lines "SECOND SERVER RSS_KIB DESCRIPTORS THREADS", prints a table, and fails where a figure is not flat: where
# its median in the last tenth of the time is over that in the first tenth by more than the tolerance.
function median(list, count,   i, j, swap) {
  for (i = 2; i <= count; i++)
    for (j = i; j > 1 && list[j] < list[j - 1]; j--) { swap = list[j]; list[j] = list[j - 1]; list[j - 1] = swap }
  return list[int((count + 1) / 2)]
}
# Of one tenth of a server's samples.
function part(server, column, from, to,   list, count, i) {
  for (i = from; i <= to; i++) list[++count] = of[server, column, i]
  return median(list, count)
}
{
  if (!($2 in samples)) order[++servers] = $2
  n = ++samples[$2]
  for (column = 3; column <= 5; column++) {
    of[$2, column, n] = $column
    if ($column > most[$2, column]) most[$2, column] = $column
  }
}
END {
  split("rss KiB,descriptors,threads", name, ",")
  printf "%-8s %-12s %12s %12s %12s %12s\n", "server", "what", "first tenth", "last tenth", "maximum", "tolerance"
  for (s = 1; s <= servers; s++) {
    server = order[s]; n = samples[server]; tenth = int(n / 10)
    if (tenth < 1) { print "too few samples of " server; exit 1 }
    for (column = 3; column <= 5; column++) {
      first = part(server, column, 1, tenth); last = part(server, column, n - tenth + 1, n)
      # Pages of the allocator; connections that come and go; threads of reloads and look-ups that have not ended.
      allowed = column == 3 ? int(first / 5) + 4096 : column == 4 ? 16 : 4
      grows = last > first + allowed
      failed = failed || grows
      printf "%-8s %-12s %12d %12d %12d %12s%s\n", server, name[column - 2], first, last, most[server, column], "+" allowed, grows ? "  GROWS" : ""
    }
  }
  exit failed
}
