# Prints the targets of a Makefile under their headings: "target: ... ## what it does" and "##@ Heading".
BEGIN { FS = ":.*## "; print "Gatehouse: make <target>" }
/^##@ / { printf "\n%s\n", substr($0, 5); next }
/^[a-z][a-z0-9-]*:.*## / { printf "  %-16s %s\n", $1, $2 }
