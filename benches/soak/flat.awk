# Reads lines "SECOND SERVER RSS_KIB DESCRIPTORS THREADS", prints a table, and fails where a figure is not flat: where
# its median in the last quarter of the time is over that in the third by more than the tolerance. The first half is for
# the allocator and the tables to find their size; the median of the first tenth is printed beside it.
function median(list, count,   i, j, swap) {
  for (i = 2; i <= count; i++)
    for (j = i; j > 1 && list[j] < list[j - 1]; j--) { swap = list[j]; list[j] = list[j - 1]; list[j - 1] = swap }
  return list[int((count + 1) / 2)]
}
# Of one part of a server's samples.
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
  form = "%-8s %-12s %12s %14s %13s %9s %10s"
  printf form "\n", "server", "what", "first tenth", "third quarter", "last quarter", "maximum", "tolerance"
  for (s = 1; s <= servers; s++) {
    server = order[s]; n = samples[server]; tenth = int(n / 10); quarter = int(n / 4)
    if (tenth < 1) { print "too few samples of " server; exit 1 }
    for (column = 3; column <= 5; column++) {
      first = part(server, column, 1, tenth)
      third = part(server, column, 2 * quarter + 1, 3 * quarter); last = part(server, column, 3 * quarter + 1, n)
      # Pages of the allocator; connections that come and go; threads of reloads and look-ups that have not ended.
      allowed = column == 3 ? int(third / 10) + 2048 : column == 4 ? 16 : 4
      grows = last > third + allowed
      failed = failed || grows
      printf form "%s\n", server, name[column - 2], first, third, last, most[server, column], "+" allowed, grows ? "  GROWS" : ""
    }
  }
  exit failed
}
