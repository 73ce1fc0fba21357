package grammar

import "math/big"

// formats are those of texts that can be kept to, as regular expressions: JSON
// Schema's, and those that pydantic and OpenAPI have beside them.
var formats = map[string]string{
	"date":      date,
	"time":      clock,
	"date-time": date + `T` + clock,
	"duration":  `P(\d{1,6}W|\d{1,6}D(T` + timeSpan + `)?|\d{1,6}M(\d{1,6}D)?(T` + timeSpan + `)?|\d{1,6}Y(\d{1,6}M(\d{1,6}D)?)?(T` + timeSpan + `)?|T` + timeSpan + `)`,
	"email":     atom + `(\.` + atom + `){0,2}@` + host,
	"hostname":  host,
	"ipv4":      ipv4,
	"ipv6":      ipv6,
	"uri":       `https?://` + host + `(:[1-9][0-9]{0,3})?(/([a-zA-Z0-9._~!$&'()*+,;=:@-]|%[0-9a-fA-F]{2})*)*(\?([a-zA-Z0-9._~!$&'()*+,;=:@/?-]|%[0-9a-fA-F]{2})*)?(#([a-zA-Z0-9._~!$&'()*+,;=:@/?-]|%[0-9a-fA-F]{2})*)?`,
	"uuid":      `[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`,

	"uuid1": uuid + `1` + uuidRest, "uuid3": uuid + `3` + uuidRest, "uuid4": uuid + `4` + uuidRest, "uuid5": uuid + `5` + uuidRest,
	"uuid6": uuid + `6` + uuidRest, "uuid7": uuid + `7` + uuidRest, "uuid8": uuid + `8` + uuidRest,
	"ipvanyaddress": ipv4 + `|` + ipv6,
	"byte":          base64,
	"base64":        base64,
}

// anyText are the formats that say how a text is meant, and that any text has.
var anyText = map[string]bool{"password": true, "binary": true, "path": true}

// integerFormats are OpenAPI's formats of numbers: integers of so many bits.
var integerFormats = map[string]struct{ lo, hi *big.Rat }{
	"int8": signed(8), "int16": signed(16), "int32": signed(32), "int64": signed(64),
	"uint8": unsigned(8), "uint16": unsigned(16), "uint32": unsigned(32), "uint64": unsigned(64),
}

func unsigned(bits uint) struct{ lo, hi *big.Rat } {
	end := new(big.Int).Lsh(big.NewInt(1), bits)
	return struct{ lo, hi *big.Rat }{new(big.Rat), new(big.Rat).SetInt(end.Sub(end, big.NewInt(1)))}
}

func signed(bits uint) struct{ lo, hi *big.Rat } {
	hi := unsigned(bits - 1).hi
	return struct{ lo, hi *big.Rat }{new(big.Rat).Sub(big.NewRat(-1, 1), hi), hi}
}

const (
	leap = `(\d\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)`
	date = `(\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))|` + leap + `-02-29)`

	clock    = `([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)`
	timeSpan = `(\d{1,6}H(\d{1,6}M(\d{1,6}S)?)?|\d{1,6}M(\d{1,6}S)?|\d{1,6}S)`

	// Two hyphens in a row are of names in other scripts, which have rules of their own.
	label = `[a-zA-Z0-9](-?[a-zA-Z0-9]){0,24}`
	host  = label + `(\.` + label + `){0,4}`
	atom  = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,20}"
	octet = `(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)`
	group = `[0-9a-fA-F]{1,4}`
	ipv4  = octet + `(\.` + octet + `){3}`
	ipv6  = `(` + group + `:){7}` + group + `|(` + group + `:){1,7}:|(` + group + `:){1,6}:` + group + `|(` + group + `:){1,5}(:` + group + `){1,2}|(` +
		group + `:){1,4}(:` + group + `){1,3}|(` + group + `:){1,3}(:` + group + `){1,4}|(` + group + `:){1,2}(:` + group + `){1,5}|` +
		group + `:(:` + group + `){1,6}|:((:` + group + `){1,7}|:)`

	base64 = `([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?`

	// A version of UUIDs is the digit between these.
	uuid     = `[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-`
	uuidRest = `[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}`
)
