# Prints a secret: secret.pl URL. It knows of no proxy and no credential.
use strict;
use warnings;
use HTTP::Tiny;

my $answer = HTTP::Tiny->new(verify_SSL => 1, timeout => 30)->get($ARGV[0]);
$answer->{success} or die "$answer->{status} $answer->{content}";
$answer->{content} =~ /"value":"([^"]*)"/ or die $answer->{content};
print "$1\n";
