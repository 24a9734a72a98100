# Relays its input and output to a port, as netcat does: perl relay.pl HOST PORT
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;

my $peer = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1]) or die "relay: $!\n";
my $ready = IO::Select->new(\*STDIN, $peer);
while (my @handles = $ready->can_read) {
   for my $from (@handles) {
      my $to = $from == $peer ? \*STDOUT : $peer;
      my $n = sysread($from, my $bytes, 65536);
      exit 0 unless $n;
      my $done = 0;
      $done += syswrite($to, $bytes, $n - $done, $done) // exit 1 while $done < $n;
   }
}
