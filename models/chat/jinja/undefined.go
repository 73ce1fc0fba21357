package jinja

import "fmt"

// An undefined value prints as nothing, is empty and false; whatever else is
// done with it fails with its message.
type undefined struct {
	hint   string // the message, if set
	object Value  // whose item is missing, or nil
	name   Value
	kind   string // of the exception
}

func (*undefined) typeName() string { return "Undefined" }

// Undefined is what a variable is that nobody set.
func Undefined(name string) Value {
	return &undefined{name: str(name), kind: "UndefinedError"}
}

func undefinedBecause(hint string) Value {
	return &undefined{hint: hint, kind: "UndefinedError"}
}

func undefinedItem(object, name Value) Value {
	return &undefined{object: object, name: name, kind: "UndefinedError"}
}

// unsafeAttribute is what the sandbox gives for an attribute that it hides.
func unsafeAttribute(object Value, attr string) Value {
	return &undefined{
		hint: fmt.Sprintf("access to attribute %s of '%s' object is unsafe.", reprString(attr), object.typeName()),
		kind: "SecurityError",
	}
}

func isUndefined(v Value) bool {
	_, ok := v.(*undefined)
	return ok
}

// fail raises the exception of using u.
func (u *undefined) fail() {
	switch name, isString := Text(u.name); {
	case u.hint != "":
		raise(u.kind, "%s", u.hint)
	case u.object == nil:
		raise(u.kind, "%s is undefined", reprString(name))
	case !isString:
		raise(u.kind, "%s has no element %s", objectType(u.object), shortRepr(u.name))
	default:
		raise(u.kind, "'%s' has no attribute %s", objectType(u.object), reprString(name))
	}
}

// failIfUndefined raises the exception of the first undefined operand.
func failIfUndefined(operands ...Value) {
	for _, v := range operands {
		if u, ok := v.(*undefined); ok {
			u.fail()
		}
	}
}

// objectType describes a value in a message about what it lacks.
func objectType(v Value) string {
	switch v.(type) {
	case noneType:
		return "None"
	case *namespace:
		return "jinja2.utils.Namespace object"
	case *macro:
		return "jinja2.runtime.Macro object"
	case *loop:
		return "jinja2.runtime.LoopContext object"
	case markup:
		return "markupsafe.Markup object"
	}
	return v.typeName() + " object"
}

// shortRepr is a repr for a message, of simple values only.
func shortRepr(v Value) string {
	switch v := v.(type) {
	case str:
		return reprString(string(v))
	case integer:
		return fmt.Sprint(int64(v))
	}
	return "of type " + v.typeName()
}
