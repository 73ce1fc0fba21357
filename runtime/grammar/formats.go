package grammar

// formats are those of JSON Schema that can be kept to, as regular expressions.
var formats = map[string]string{
	"date":      date,
	"time":      clock,
	"date-time": date + `T` + clock,
	"duration":  `P(\d{1,6}W|\d{1,6}D(T` + timeSpan + `)?|\d{1,6}M(\d{1,6}D)?(T` + timeSpan + `)?|\d{1,6}Y(\d{1,6}M(\d{1,6}D)?)?(T` + timeSpan + `)?|T` + timeSpan + `)`,
	"email":     atom + `(\.` + atom + `){0,2}@` + host,
	"hostname":  host,
	"ipv4":      octet + `(\.` + octet + `){3}`,
	"ipv6": `(` + group + `:){7}` + group + `|(` + group + `:){1,7}:|(` + group + `:){1,6}:` + group + `|(` + group + `:){1,5}(:` + group + `){1,2}|(` +
		group + `:){1,4}(:` + group + `){1,3}|(` + group + `:){1,3}(:` + group + `){1,4}|(` + group + `:){1,2}(:` + group + `){1,5}|` +
		group + `:(:` + group + `){1,6}|:((:` + group + `){1,7}|:)`,
	"uri":  `https?://` + host + `(:[1-9][0-9]{0,3})?(/([a-zA-Z0-9._~!$&'()*+,;=:@-]|%[0-9a-fA-F]{2})*)*(\?([a-zA-Z0-9._~!$&'()*+,;=:@/?-]|%[0-9a-fA-F]{2})*)?(#([a-zA-Z0-9._~!$&'()*+,;=:@/?-]|%[0-9a-fA-F]{2})*)?`,
	"uuid": `[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`,
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
)
